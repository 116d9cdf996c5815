// blockferry send: moves disks to a receive.
import { ControlClient } from '../control/client.js'
import type { Emit, HostEvent } from '../control/job.js'
import type { SendRequest } from '../control/protocol.js'
import type { Remote } from '../control/remote.js'
import { startRemote } from '../control/remote.js'
import { ownerUnknownAfter } from '../control/owner-unknown.js'
import { BlockferryError } from '../base/errors.js'
import { migrate } from '../migrate.js'
import { machineOf } from '../control/machine-spec.js'
import type { MigrateOptions, SourceDisk } from '../source/options.js'
import type { Report } from '../session/report.js'
import * as args from './args.js'
import type { Command, Values } from './command.js'
import { UsageError } from './usage-error.js'
import { exitCodeOf, kExit, kExitHelp } from './exit-codes.js'
import { Interrupt } from './interrupt.js'
import { mapOf } from './map-option.js'
import type { Output } from './output.js'
import { kRedirectHelp, redirectFile } from './redirect-option.js'
import { ProgressDisplay } from './progress-display.js'
import { reportText } from './report-text.js'
import { kTlsHelp, kTlsOptions, rejectBoth, tlsAt } from './tls-args.js'

type Settings = Omit<
  MigrateOptions, 'disks' | 'destination' | 'switchover' | 'machine' | 'network' | 'journal'
> & {
  switchover: string
  machine?: string
  journal?: string
}

const kThrottles = ['bucket', 'steps', 'none'] as const
const kTaps = ['bpf', 'dm', 'auto'] as const
const kCompressions = ['auto', 'on', 'off'] as const

export const send: Command = {
  name: 'send',
  summary: 'move disks to a receive elsewhere',
  help: `Usage: blockferry send --control PATH [--disk NAME …] --to HOST:PORT [OPTION …]
       blockferry send --disk NAME=PATH … --to HOST:PORT [OPTION …]

Moves what a running \`blockferry serve\` holds while its clients go on writing; or, without
--control, disks that nobody writes, or that a machine was started on without blockferry (--tap).

  --control PATH         the control socket of the serve
  --disk NAME            with --control: only this disk (repeatable; default: all)
  --disk NAME=PATH       without: a file or device that nobody writes, or with --tap (repeatable)
  --tap TAP              without --control: the disks are in use, and this sees the writes to them:
                         bpf, dm, or auto (see \`blockferry probe\`). Needs root, and --machine but
                         for dm, which stops the writers itself
  --cgroup FOLDER        with --tap: slow the writers in this cgroup, when they have to be (default:
                         the whole disk, or the cgroups of those that have it open)
  --maps FOLDER          without --control: keep what is tracked of each disk in a file here, so
                         that a send which follows on one that was killed neither reads nor sends
                         again what has not changed (see serve); a bpf tap stays in the kernel until
                         then, or until \`blockferry recover --device\`
${args.kSizeHelp}
${args.kForceHelp}
                         (--size and --force: without --control and --tap)
${args.kHolesHelp}
                         (without --control and --tap)
  --to HOST:PORT         where a \`blockferry receive\` listens
  --journal PATH         without --control: remember here, across crashes, who owns the disks
  --machine MACHINE      with --control or --tap: the machine that uses the disks moves, too: the
                         QEMU whose monitor is at qemu:PATH or qemu:HOST:PORT, or the Xen domain
                         xen:DOMAIN
${kRedirectHelp}
${args.kBudgetHelp}
                         (default: a downtime of 300ms, no other limit)
  --switchover WHEN      auto (as soon as the downtime budget is met, the default), manual
                         (\`blockferry switchover\`), or a date like 2030-01-31T02:00:00Z
  --throttle HOW         bucket (the default), steps, or none: how writers that outrun the link
                         are slowed
  --no-equality          do not compare both sides before the switchover
  --no-reuse             send also what the destination's disk holds already
  --compression WHEN     auto (the default), on, off
  --streams N            TCP connections for data, 1 to 16 (default 2)
  --block-size SIZE      tracking unit, a power of two from 4KiB (the default) to 1MiB
${kTlsHelp}
${args.kLinkHelp}
  --reconnect TIME       how long a lost link is tried again (default 2min, 0 not at all)
  --json                 events on stdout, one JSON object a line, the last "done" or "failed"

SIGINT and SIGTERM cancel the migration; the source goes on as before. A second one ends send at
once, with 4 while the destination decides. If send just dies, a migration in a serve goes on:
\`blockferry status\` shows it, \`blockferry cancel\` ends it.
${kExitHelp}`,
  options: {
    control: { type: 'string' },
    disk: { type: 'string', multiple: true },
    tap: { type: 'string' },
    cgroup: { type: 'string' },
    maps: { type: 'string' },
    force: { type: 'boolean' },
    size: { type: 'string', multiple: true },
    holes: { type: 'string' },
    to: { type: 'string' },
    ...args.kBudgetOptions,
    switchover: { type: 'string' },
    throttle: { type: 'string' },
    'no-equality': { type: 'boolean' },
    'no-reuse': { type: 'boolean' },
    reconnect: { type: 'string' },
    compression: { type: 'string' },
    streams: { type: 'string' },
    'block-size': { type: 'string' },
    machine: { type: 'string' },
    redirect: { type: 'string' },
    journal: { type: 'string' },
    'link-timeout': { type: 'string' },
    ...kTlsOptions
  },
  run
}

async function run (values: Values, output: Output): Promise<number> {
  const to = args.hostPort('--to', args.required(values, 'to'))
  rejectBoth(values)
  rejectStrangers(values)
  const settings = { ...readSettings(values), ...tlsAt(values, '--to', to) }
  const control = args.text(values, 'control')
  const disks = args.texts(values, 'disk')
  const journal = args.text(values, 'journal')
  const redirect = await redirectFile(values, 'old')
  if (redirect.redirect !== undefined && control === undefined) {
    throw new UsageError('--redirect: belongs to --control')
  }
  const shown = new Shown(output)
  const onEvent = (event: HostEvent) => shown.note(event)
  const started = control === undefined
    ? startHere(disksOf(disks, values), to, { ...settings, ...(journal !== undefined && { journal }) }, onEvent)
    : await startThere(control, { ...settings, ...redirect, to, ...namesOf(disks) }, onEvent)
  const interrupt = new Interrupt(['SIGINT', 'SIGTERM'], started.cancel, () => shown.endAtOnce())
  try {
    output.line(reportText(await started.result, to))
    return kExit.done
  } catch (thrown) {
    if (!(thrown instanceof BlockferryError)) throw thrown
    shown.failed(thrown)
    const isInterrupted = interrupt.happened && thrown.code === 'CANCELLED'
    return isInterrupted ? kExit.interrupted : exitCodeOf(thrown)
  } finally {
    interrupt.stop()
  }
}

/** What the user has been told so far. */
class Shown {
  readonly #output: Output
  readonly #display: ProgressDisplay | null
  #failureTold = false
  #ownerUnknown = false

  constructor (output: Output) {
    this.#output = output
    this.#display = output.json ? null : new ProgressDisplay()
  }

  note (event: HostEvent): void {
    this.#display?.show(event)
    this.#output.event(event)
    this.#failureTold = event.event === 'failed'
    this.#ownerUnknown = ownerUnknownAfter(event, this.#ownerUnknown)
  }

  failed (error: BlockferryError): void {
    this.#display?.clear()
    this.#output.failed(error, 'send', this.#failureTold)
  }

  /** Answers the exit code. */
  endAtOnce (): number {
    if (!this.#ownerUnknown) return kExit.interrupted
    this.#display?.clear()
    const error = new BlockferryError('OWNER_UNKNOWN', 'ended before the destination had decided', { owner: 'unknown' })
    this.#output.failed(error, 'send')
    return kExit.ownerUnknown
  }
}

/** Options that do not go with others. */
function rejectStrangers (values: Values): void {
  const has = (option: string) => values[option] !== undefined
  if (has('control')) {
    for (const option of ['journal', 'maps']) {
      if (has(option)) throw new UsageError(`--${option}: belongs to the serve, not to send --control`)
    }
    if (has('tap')) throw new UsageError('--tap: does not go with --control')
  }
  if (has('cgroup') && !has('tap')) throw new UsageError('--cgroup: belongs to --tap')
  for (const option of ['force', 'size', 'holes']) {
    if (has(option) && (has('control') || has('tap'))) {
      throw new UsageError(`--${option}: does not go with --control and --tap`)
    }
  }
}

function readSettings (values: Values): Settings {
  const take = <T>(name: string, read: (option: string, value: string) => T): T | undefined => {
    const value = args.text(values, name)
    return value === undefined ? undefined : read(`--${name}`, value)
  }
  const throttle = take('throttle', (option, value) => args.oneOf(option, value, kThrottles))
  const compression = take(
    'compression', (option, value) => args.oneOf(option, value, kCompressions))
  const streams = take('streams', (option, value) => args.integer(option, value, 1, 16))
  const reconnect = take('reconnect', (option, value) => args.timeOrNothing(option, value))
  const blockSize = take('block-size', args.blockSize)
  return {
    ...args.machine(values),
    ...args.linkTimeout(values),
    budgets: args.budgets(values),
    switchover: take('switchover', args.switchover) ?? 'auto',
    equality: !args.flag(values, 'no-equality'),
    reuse: !args.flag(values, 'no-reuse'),
    ...(reconnect !== undefined && { reconnect }),
    ...(throttle !== undefined && { throttle }),
    ...(compression !== undefined && { compression }),
    ...(streams !== undefined && { streams }),
    ...(blockSize !== undefined && { blockSize })
  }
}

function disksOf (disks: string[], values: Values): SourceDisk[] {
  if (disks.length === 0) throw new UsageError('--control or --disk: one of them is needed')
  const named = args.namedPaths('--disk', disks)
  const sizes = args.sizes(values, named)
  const how = howOf(values)
  const maps = args.text(values, 'maps')
  return named.map(({ name, path }) => ({
    name,
    source: path,
    ...(sizes.has(name) && { size: sizes.get(name)! }),
    ...how,
    ...mapOf(maps, name)
  }))
}

function howOf (values: Values): Omit<SourceDisk, 'source' | 'name'> {
  const tap = args.text(values, 'tap')
  const cgroup = args.text(values, 'cgroup')
  return {
    ...(tap !== undefined && { tap: args.oneOf('--tap', tap, kTaps) }),
    ...(cgroup !== undefined && { cgroup }),
    ...(args.flag(values, 'force') && { force: true }),
    ...args.holes(values)
  }
}

function namesOf (disks: string[]): { disks?: string[] } {
  return disks.length === 0 ? {} : { disks: args.names('--disk', disks) }
}

function startHere (
  disks: SourceDisk[], to: string, { switchover, machine, ...settings }: Settings, emit: Emit
): Remote<Report> {
  const isWatched = disks.some(({ tap }) => tap !== undefined)
  const isOnlyWatched = disks.some(({ tap }) => tap === 'bpf')
  if (machine === undefined && isOnlyWatched) throw new UsageError('--tap: bpf needs --machine')
  if (machine !== undefined && !isWatched) throw new UsageError('--machine: belongs to --control or --tap')
  const migration = migrate({
    ...settings,
    disks,
    destination: to,
    ...(machine !== undefined && { machine: machineOf('--machine', machine) }),
    switchover: switchover === 'auto' || switchover === 'manual' ? switchover : new Date(switchover)
  })
  const follow = async () => {
    for await (const event of migration) emit(event)
    return await migration
  }
  return { result: follow(), cancel: () => { migration.cancel() } }
}

async function startThere (
  path: string, request: SendRequest, emit: Emit
): Promise<Remote<Report>> {
  const client = await ControlClient.connect(path)
  const { result, cancel } = startRemote(client, 'send', request, emit)
  return { result: result.then(({ report }) => report), cancel }
}
