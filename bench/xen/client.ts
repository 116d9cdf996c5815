// client URL STOP: in a dom0, asks a guest's web server again and again, each time by a new connection,
// until the file STOP is there. Then says for how long at most there was no answer.

import { existsSync } from 'node:fs'
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const kPauseMs = 100
const kPatienceMs = 1000

const [url, stop] = process.argv.slice(2) as [string, string]
let last = performance.now()
let gapMs = 0
let answers = 0
console.log('begun')
while (!existsSync(stop)) {
  if (await asks()) {
    answers++
    gapMs = Math.max(gapMs, performance.now() - last)
    last = performance.now()
  }
  await sleep(kPauseMs)
}
console.log(JSON.stringify({ gapMs, answers }))

async function asks (): Promise<boolean> {
  return await new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: kPatienceMs }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode === 200)).on('error', () => resolve(false))
    })
    request.on('timeout', () => request.destroy(new Error('no answer'))).on('error', () => resolve(false))
  })
}
