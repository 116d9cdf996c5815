// New clients: each resolves the name and gets the page on a connection of its own. Answers are
// cached for as long as they may be, or longer.
//
//   resolve SERVER NAME INTERVAL_MS CACHE [FAMILY]     (CACHE: how many times the TTL)
import { Resolver } from 'node:dns/promises'
import { get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import { finish, nowMs, stopSignal, type Sample } from '../../clients/programs/timeline.js'

const [server, name, interval, cache, family = '4'] = process.argv.slice(2) as
  [string, string, string, string, string?]
const stop = stopSignal()
const resolver = new Resolver({ timeout: 500, tries: 2 })
resolver.setServers([server])
const samples: Sample[] = []
/** The address of each, in order. */
const addresses: string[] = []
let cached = { address: '', until: 0 }

async function resolve (): Promise<string> {
  if (nowMs() >= cached.until) {
    const [answer] = family === '4'
      ? await resolver.resolve4(name, { ttl: true })
      : await resolver.resolve6(name, { ttl: true })
    cached = { address: answer!.address, until: nowMs() + answer!.ttl * 1000 * Number(cache) }
  }
  return cached.address
}

function fetchPage (host: string): Promise<boolean> {
  return new Promise((done) => {
    const request = get({ host, path: '/', agent: false, timeout: 20_000 }, (response) => {
      response.resume()
      response.on('end', () => done(response.statusCode === 200))
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => done(false))
  })
}

while (!stop.aborted) {
  const startMs = nowMs()
  // A name server that is busy is asked again.
  const address = await resolve().catch(() => cached.address)
  const ok = await fetchPage(address)
  addresses.push(address)
  samples.push({ startMs, endMs: nowMs(), ok })
  await sleep(Number(interval), undefined, { signal: stop }).catch(() => undefined)
}
finish({ samples, addresses })
