// What serve and a receive that goes on as one have in common.
import { commandHandler } from '../control/commands.js'
import type { DiskHost } from '../control/disk-host.js'
import type { HostEvent } from '../control/job.js'
import { ControlServer } from '../control/server.js'
import { Journal } from '../ownership/journal.js'
import { text } from './args.js'
import type { Values } from './command.js'
import { kExit } from './exit-codes.js'
import { formatTime } from './format.js'
import { Interrupt } from './interrupt.js'
import type { Output } from './output.js'
import { redirectEventText } from './redirect-text.js'

/** The control socket of a process; null when none is wanted. */
export async function openControl (
  path: string | undefined, host: DiskHost
): Promise<ControlServer | null> {
  if (path === undefined) return null
  const control = new ControlServer(commandHandler(host))
  await control.listen(path)
  return control
}

/** --journal, if it was given. */
export async function openJournal (values: Values): Promise<Journal | null> {
  const path = text(values, 'journal')
  return path === undefined ? null : await Journal.open(path)
}

/** Serves until a signal; then ends everything in order. 130 when that cancelled a migration, 4
 * when the owner of its disks is unknown. `ready` is called when a signal would end it so. */
export async function untilInterrupted (host: DiskHost, ready: () => void): Promise<number> {
  let interrupt!: Interrupt
  const alive = setInterval(() => {}, 2 ** 30)
  await new Promise<void>((resolve) => {
    const code = () => host.ownerUnknown ? kExit.ownerUnknown : kExit.interrupted
    interrupt = new Interrupt(['SIGINT', 'SIGTERM', 'SIGHUP'], resolve, code)
    ready()
  })
  const ended = await host.close()
  clearInterval(alive)
  interrupt.stop()
  if (ended.some(({ owner }) => owner === 'unknown')) return kExit.ownerUnknown
  return ended.length > 0 ? kExit.interrupted : kExit.done
}

/** A supervisor may never read the log: what there is of it must fit into a pipe for long. */
const kLogged = ['listening', 'started', 'committed', 'done', 'failed']

/** The log of a process that serves: what begins and ends. Who sends gets the rest. */
export function log (event: HostEvent, id: string, output: Output): void {
  const migration = `migration ${id.slice(0, 8)}`
  if (event.event === 'redirect' && event.redirect.event !== 'connections') {
    output.event({ migration: id, ...event } as HostEvent)
    output.note(`${migration}: ${redirectEventText(event.redirect)}`)
  }
  if (!kLogged.includes(event.event)) return
  output.event({ migration: id, ...event } as HostEvent)
  if (event.event === 'started') {
    output.note(`${migration} of ${event.disks.map(({ name }) => name).join(', ')}`)
  }
  if (event.event === 'done') {
    output.note(`${migration} is done after ${formatTime(event.report.durationMs)}`)
  }
  if (event.event === 'failed') {
    output.note(`${migration} failed: ${event.error.code}: ${event.error.message}`)
  }
}
