// One site's redirect(), in a network namespace: takes the names of its methods as lines, and says
// what comes of each, and all events, as lines of JSON.
//
//   site OPTIONS     (JSON; dns is { kind: 'rfc2136' | 'dyndns2', … })
import { createInterface } from 'node:readline'

import { dyndns2 } from '../../../lib/index.js'
import { rfc2136 } from '../../../lib/index.js'
import { redirect } from '../../../lib/index.js'

function say (line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

const { dns, ...options } = JSON.parse(process.argv[2]!)
const { kind, ...named } = dns ?? {}
const service = dns === undefined ? {} : { dns: kind === 'rfc2136' ? rfc2136(named) : dyndns2(named) }
const site = redirect({ ...options, ...service })
const methods = ['prepare', 'verify', 'switchOver', 'undo', 'close'] as const

void (async () => {
  for await (const event of site) say(event)
})()

for await (const line of createInterface(process.stdin)) {
  const method = methods.find((name) => name === line)
  if (method === undefined) throw new Error(`no method ${line}`)
  const error = await Promise.resolve(site[method]()).then(() => null, (thrown) => thrown.toJSON())
  say({ method, error })
}
process.exit(0)
