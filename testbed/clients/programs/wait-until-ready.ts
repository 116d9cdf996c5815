// Asks for a page until it comes: exit code 0, or 1 when the time is over.
//
//   wait-until-ready URL SECONDS

import { setTimeout as sleep } from 'node:timers/promises'

const [url, seconds] = process.argv.slice(2) as [string, string]
const deadline = performance.now() + Number(seconds) * 1000

async function isThere (): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1000) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

while (!(await isThere())) {
  if (performance.now() > deadline) process.exit(1)
  await sleep(50)
}
process.exit(0)
