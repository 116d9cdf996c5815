// One side of a guest's move, in a dom0. Says what happens, a line of JSON each.
//
//   side.js source|destination JSON
import type { TapKind } from '../../../lib/index.js'
import { migrate, receive, xen } from '../../../lib/index.js'

export interface SideOptions {
  domain: string
  disks: Array<{ name: string, path: string }>
  /** At the source. */
  tap?: TapKind
  /** Where the destination listens. */
  host: string
  port?: number
  memory?: 'auto' | 'live' | 'cold'
  bandwidth?: string
  /** Default: '120s': emulated processors take their time. */
  downtime?: string
  journal?: string
  /** Default: '60s'. */
  linkTimeout?: string
}

const [role, text] = process.argv.slice(2) as [string, string]
const options = JSON.parse(text) as SideOptions
const { domain, disks, tap = 'dm', host, port = 0, memory = 'auto', bandwidth, downtime = '120s', journal, linkTimeout = '60s' } = options
const machine = xen({ domain, memory })
const kProgressMs = 5000
const say = (what: object) => console.log(JSON.stringify(what))
const said = new Set<string>()

function sayOnce (word: string): void {
  if (!said.has(word)) say({ [word]: true })
  said.add(word)
}

async function send (): Promise<void> {
  const migration = migrate({
    disks: disks.map(({ name, path }) => ({ name, source: path, tap })),
    destination: { host, port },
    tls: false,
    machine,
    budgets: { downtime, ...(bandwidth !== undefined && { bandwidth }) },
    linkTimeout,
    ...(journal !== undefined && { journal })
  })
  let told = 0
  migration.on('progress', (progress) => {
    if (performance.now() - told < kProgressMs) return
    told = performance.now()
    say({ progress })
  })
  migration.on('memory', () => sayOnce('memory'))
  migration.on('reconnecting', ({ error }) => say({ reconnecting: error.code }))
  migration.on('switchover', ({ step }) => say({ step }))
  migration.on('resumed', ({ reason }) => say({ resumed: reason }))
  const report = await migration
  say({ moved: machine.way, report })
}

async function take (): Promise<void> {
  const receiver = await receive({
    disks: disks.map(({ name, path }) => ({ name, destination: path })),
    listen: { host, port },
    tls: false,
    machine,
    linkTimeout,
    ...(journal !== undefined && { journal })
  })
  receiver.on('failed', ({ error }) => say({ failed: error.code, message: error.message }))
  say({ port: receiver.address.port })
  await receiver.done
  for (const tap of receiver.taps.values()) await tap.close()
  await receiver.close()
  say({ done: true })
}

try {
  await (role === 'source' ? send() : take())
} catch (error) {
  const { code, owner, message } = error as { code?: string, owner?: string, message: string }
  say({ failed: code, owner, message })
  process.exitCode = 1
}
