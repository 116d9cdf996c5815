// blockferry receive: waits for disks.
import { ControlClient } from '../control/client.js'
import { DiskHost } from '../control/disk-host.js'
import { hostPortText } from '../base/units.js'
import type { HostEvent } from '../control/job.js'
import type { ReceiveRequest } from '../control/protocol.js'
import { startRemote } from '../control/remote.js'
import { BlockferryError } from '../base/errors.js'
import type { Refused } from '../session/events.js'
import type { DestinationReport } from '../session/report.js'
import { NbdServer } from '../nbd/server.js'
import * as args from './args.js'
import type { Command, Values } from './command.js'
import { UsageError } from './usage-error.js'
import { exitCodeOf, kExit, kExitHelp } from './exit-codes.js'
import { formatBytes } from './format.js'
import { kRedirectHelp, redirectFile } from './redirect-option.js'
import { redirectEventText } from './redirect-text.js'
import { Interrupt } from './interrupt.js'
import type { Output } from './output.js'
import { checkPlainNbd, kTlsHelp, kTlsOptions, tlsAt } from './tls-args.js'
import { log, openControl, openJournal, untilInterrupted } from './serving.js'

export const receive: Command = {
  name: 'receive',
  summary: 'wait for disks from a send elsewhere',
  help: `Usage: blockferry receive --disk NAME=PATH … --listen HOST:PORT [OPTION …]
       blockferry receive --control PATH [--disk NAME …] --listen HOST:PORT [OPTION …]

Prints the address where it listens and waits for a \`blockferry send\` of every disk. The first
form writes to files or devices and ends when the disks are here; a missing file is created. The
second asks a running serve to take disks that have moved away from it back into the same files.
What a disk's file holds is overwritten, as far as the disk goes: what a larger one holds behind
that is neither touched nor served. A file that has all of its space allocated keeps it; others
become as sparse as the disk.

  --disk NAME=PATH       the disk's name at the sender, and where it goes (repeatable)
  --listen HOST:PORT     port 0 takes a free one
  --serve ADDRESS        when the disks are here, go on and offer them to NBD clients at
                         unix:PATH or tcp:HOST:PORT
  --control PATH         with --disk NAME=PATH: make a control socket here, so that the disks
                         can move again; else: the control socket of the running serve
  --disk NAME            with the control socket of a serve: only this disk (repeatable)
  --machine MACHINE      the machine that comes with the disks goes on here: in the QEMU whose
                         monitor is at qemu:PATH or qemu:HOST:PORT, started with -incoming defer -S;
                         or xen:DOMAIN, whose disks have the same paths as where it comes from
${kRedirectHelp}
  --journal PATH         with --disk NAME=PATH: remember here, across crashes, who owns the disks
  --direct               O_DIRECT: bypass the page cache
  --allocate             take all the space that the disks can need before they come, so that it
                         can't run out; on a device: give none back
${args.kForceHelp}
${args.kHolesHelp}
  --keep-listening       a migration that fails does not end the command (once a disk is here,
                         none does; nor does an offer that is refused)
${kTlsHelp};
                         with --serve tcp:… also for the NBD clients, whom TLS does not cover
${args.kLinkHelp}
  --json                 events on stdout, one JSON object a line

Without --serve it ends with 0 when every disk is here, with 1 when the migration that it has
accepted fails (of several, the last). An offer that it refuses ends only itself.
SIGINT and SIGTERM end it; a migration that has not committed fails then. Who connects and is not
welcome is told of, less and less often while it goes on.
${kExitHelp}`,
  options: {
    disk: { type: 'string', multiple: true },
    listen: { type: 'string' },
    serve: { type: 'string' },
    control: { type: 'string' },
    direct: { type: 'boolean' },
    allocate: { type: 'boolean' },
    force: { type: 'boolean' },
    holes: { type: 'string' },
    journal: { type: 'string' },
    'keep-listening': { type: 'boolean' },
    machine: { type: 'string' },
    redirect: { type: 'string' },
    'link-timeout': { type: 'string' },
    ...kTlsOptions
  },
  run
}

async function run (values: Values, output: Output): Promise<number> {
  const listen = args.hostPort('--listen', args.required(values, 'listen'))
  const request: ReceiveRequest = {
    listen,
    ...tlsAt(values, '--listen', listen),
    keepListening: args.flag(values, 'keep-listening'),
    ...(args.flag(values, 'allocate') && { allocate: true }),
    ...args.machine(values),
    ...await redirectFile(values, 'new'),
    ...args.linkTimeout(values)
  }
  const disks = args.texts(values, 'disk')
  const control = args.text(values, 'control')
  if (control !== undefined && !disks.some((disk) => disk.includes('='))) {
    return await receiveThere(control, disks, request, values, output)
  }
  if (disks.length === 0) throw new UsageError('--disk or --control: one of them is needed')
  if (request.redirect !== undefined) throw new UsageError('--redirect: belongs to the control socket of a serve')
  return await receiveHere(args.namedPaths('--disk', disks), request, values, output)
}

/** In this process. */
async function receiveHere (
  disks: args.NamedPath[], request: ReceiveRequest, values: Values, output: Output
): Promise<number> {
  const address = args.text(values, 'serve')
  if (address !== undefined) {
    args.listenAddress('--serve', address)
    checkPlainNbd(values, '--serve', address)
  }
  const server = address === undefined ? null : new NbdServer({ plain: args.flag(values, 'plain') })
  const teller = new Teller(output)
  let hasArrived = false
  const onEvent = (event: HostEvent, migration: string) => {
    if (hasArrived) log(event, migration, output)
  }
  const host = new DiskHost({ journal: await openJournal(values), server, track: false, onEvent })
  const interrupt = new Interrupt(
    ['SIGINT', 'SIGTERM', 'SIGHUP'], () => void host.close(), () => teller.endAtOnce())
  const control = await openControl(args.text(values, 'control'), host)
  const how = { direct: args.flag(values, 'direct'), force: args.flag(values, 'force'), ...args.holes(values) }
  const wanted = disks.map(({ name, path }) => ({ name, destination: path, ...how }))
  try {
    if (address !== undefined) await host.listen(address)
    await host.receive(wanted, request, (event) => teller.tell(event))
    if (address === undefined) return kExit.done
    hasArrived = true
    interrupt.stop()
    return await untilInterrupted(host, () => {
      const names = disks.map(({ name }) => name).join(', ')
      output.note(`serving ${names} at ${host.status().listen.join(', ')}`)
    })
  } catch (error) {
    return teller.failed(error, interrupt.happened)
  } finally {
    interrupt.stop()
    await control?.close()
    await host.close()
  }
}

/** In a running serve. */
async function receiveThere (
  path: string, disks: string[], request: ReceiveRequest, values: Values, output: Output
): Promise<number> {
  for (const option of ['serve', 'direct', 'force', 'holes', 'journal']) {
    if (values[option] === undefined) continue
    throw new UsageError(`--${option}: belongs to --disk NAME=PATH`)
  }
  const named = disks.length === 0 ? {} : { disks: args.names('--disk', disks) }
  const client = await ControlClient.connect(path)
  const teller = new Teller(output)
  const emit = (event: HostEvent) => teller.tell(event)
  const remote = startRemote(client, 'receive', { ...request, ...named }, emit)
  const interrupt = new Interrupt(['SIGINT', 'SIGTERM'], remote.cancel, () => teller.endAtOnce())
  try {
    await remote.result
    return kExit.done
  } catch (error) {
    return teller.failed(error, interrupt.happened)
  } finally {
    interrupt.stop()
  }
}

/** Says what happens at the destination. */
class Teller {
  readonly #output: Output
  #told = false
  #hasCommitted = false

  constructor (output: Output) {
    this.#output = output
  }

  tell (event: HostEvent): void {
    if (event.event === 'accepted') return
    this.#output.event(event)
    if (event.event === 'refused') return this.#output.note(refusedText(event))
    this.#told = event.event === 'failed'
    this.#hasCommitted ||= event.event === 'committed'
    if (event.event === 'listening') this.#output.line(`listening on ${hostPortText(event)}`)
    if (event.event === 'started') {
      this.#output.note(`receiving ${event.disks.map(named).join(', ')}`)
    }
    if (event.event === 'redirect') this.#output.note(redirectEventText(event.redirect))
    if (event.event === 'committed') this.#output.note('the disks are owned here from now on')
    if (event.event === 'failed') {
      this.#output.note(`a migration failed: ${event.error.code}: ${event.error.message}`)
    }
    if (event.event === 'done' && 'equal' in event.report) {
      const { equal, digest } = event.report
      this.#output.line(equal === null ? 'received, not compared' : `received, equal: digest ${digest}`)
      for (const disk of event.report.disks) if ('capacity' in disk) this.#noteSize(disk)
    }
  }

  #noteSize ({ name, destination, bytes, capacity }: DestinationReport['disks'][number]): void {
    if (capacity === bytes) return
    this.#output.note(`${name} has ${bytes} bytes and ${destination} ${capacity}: where it is served or sent without ` +
      `a journal that knows, say --size ${name}=${bytes}`)
  }

  /** The exit code of a process that waits for nothing any more. */
  endAtOnce (): number {
    return this.#hasCommitted ? kExit.destinationOwns : kExit.interrupted
  }

  failed (error: unknown, isInterrupted: boolean): number {
    if (!(error instanceof BlockferryError)) throw error
    // A signal ends whatever was going on with CANCELLED.
    const shown = !isInterrupted || error.code === 'CANCELLED'
      ? error
      : new BlockferryError('CANCELLED', 'the receive was cancelled', {
          owner: error.owner ?? 'source'
        })
    this.#output.failed(shown, 'receive', this.#told && !isInterrupted)
    return isInterrupted && shown.owner === 'source' ? kExit.interrupted : exitCodeOf(shown)
  }
}

function refusedText ({ host, port, error, total }: Refused): string {
  const from = hostPortText({ host, port })
  return `refused ${from}: ${error.code}: ${error.message} (${total} in all)`
}

function named ({ name, bytes }: { name: string, bytes: number }): string {
  return `${name} (${formatBytes(bytes)})`
}
