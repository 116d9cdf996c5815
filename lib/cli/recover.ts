// blockferry recover: who owns the disks after a crash.
import { machineOf } from '../control/machine-spec.js'
import type { Machine } from '../machine/machine.js'
import type { Recovered } from '../recover.js'
import { recover as recoverJournal } from '../recover.js'
import { parseTime } from '../base/units.js'
import * as args from './args.js'
import type { Command, Values } from './command.js'
import { UsageError } from './usage-error.js'
import { kTlsHelp, kTlsOptions, rejectBoth, tls } from './tls-args.js'
import { kExit } from './exit-codes.js'
import type { NamedDevice } from './leftover-taps.js'
import { concerned, letReturn, namedDevice, takeOut } from './leftover-taps.js'
import type { Output } from './output.js'

export const recover: Command = {
  name: 'recover',
  summary: 'say who owns the disks after a crash, from a journal',
  help: `Usage: blockferry recover --journal PATH [--token TOKEN] [--patience TIME | --no-ask]
       blockferry recover --device DEVICE [--journal PATH [OPTION …] | --force]

Reads what a serve, receive or send with --journal has left, settles it, and says who owns each
disk. Where the source can't know it asks the destination. When the two don't reach each other,
run it at the destination and give the token that it prints to the one at the source.

With --device it also takes out what a killed process has left of a tap in the kernel (\`blockferry
status\` shows them); what the map file of a bpf tap remembers is forgotten then. A device that is
fenced, because the destination may own its disk, is given back only if the journal says that the
disk is owned here, or with --force. If it says that the disk has moved the device stays fenced, and a
receive may take it for the disk's way back.

  --journal PATH         of a process that has ended
  --device DEVICE        a path, a name in device-mapper, or as status calls it
  --device NAME=DEVICE   if the journal has several disks: which one it is
  --force                the disk is owned here, whatever else is known: two machines that write to
                         it spoil both copies
  --machine xen:DOMAIN   the machine whose disks the journal has: it goes on if they are owned here,
                         and what is left of it is removed if they are not
  --machine NAME=xen:DOMAIN  if the journal has disks of several machines: one of this one's disks
  --token TOKEN          what recover printed on the other host
  --patience TIME        how long to ask the destination (default 10s)
  --no-ask               don't
${kTlsHelp}
  --json                 the answer on stdout as one JSON object

Exit codes: 0 every disk is owned here; 1 something else went wrong; 3 a disk is owned by the other
side; 4 nobody knows yet.`,
  options: {
    journal: { type: 'string' },
    device: { type: 'string' },
    force: { type: 'boolean' },
    machine: { type: 'string' },
    token: { type: 'string' },
    patience: { type: 'string' },
    'no-ask': { type: 'boolean' },
    ...kTlsOptions
  },
  run
}

async function run (values: Values, output: Output): Promise<number> {
  rejectBoth(values)
  const device = args.text(values, 'device')
  const named = device === undefined ? null : namedDevice(device)
  const force = args.flag(values, 'force')
  const machine = leftMachine(values)
  const hasJournal = args.text(values, 'journal') !== undefined
  if (machine !== null && !hasJournal) throw new UsageError('--machine: belongs to --journal')
  if (force && (named === null || hasJournal)) throw new UsageError('--force: belongs to --device without --journal')
  if (named !== null && !hasJournal) return await withoutJournal(named, force, output)
  const token = args.text(values, 'token')
  const patience = args.text(values, 'patience')
  const recovered = await recoverJournal(args.required(values, 'journal'), {
    ...(token !== undefined && { token }),
    ...tls(values),
    ...(args.flag(values, 'no-ask') && { patienceMs: 0 }),
    ...(patience !== undefined && { patienceMs: args.checked(() => parseTime('--patience', patience)) })
  })
  const ofDevice = named === null ? recovered : concerned(recovered, named)
  const code = codeFor(ofDevice)
  const machineCode = machine === null ? code : codeFor(concerned(recovered, machine))
  const outcome = named === null ? null : await resolveDevice(named, ofDevice)
  const resolved = machine === null ? null : await resolveLeftover(machine, machineCode)
  output.event({
    event: 'recovered', migrations: recovered, ...(outcome !== null && { device: outcome }), ...(resolved !== null && { machine: resolved })
  } as { event: string })
  output.line(recovered.map(lines).join('\n') || 'nothing has moved yet: the disks are owned here')
  if (outcome !== null) output.line(outcome)
  if (resolved !== null) output.line(resolved)
  return code
}

/** `recovered`: what concerns it. Null: it stays as it is, as that says nothing for sure. */
async function resolveDevice (named: NamedDevice, recovered: Recovered[]): Promise<string | null> {
  if (codeFor(recovered) === kExit.done) return await takeOut(named, true)
  return recovered.every(({ here }) => here === 'elsewhere') ? await letReturn(named) : null
}

interface LeftoverMachine {
  /** Of one of its disks; null: the journal has no other machine's. */
  name: string | null
  resolve: NonNullable<Machine['resolveLeftover']>
}

/** --machine, if it was given: one that can be left waiting for its owner. */
function leftMachine (values: Values): LeftoverMachine | null {
  const value = args.text(values, 'machine')
  if (value === undefined) return null
  const [, name = null, spec] = /^(?:([^=:]+)=)?(.*)$/.exec(value)!
  const machine = args.checked(() => machineOf('--machine', spec!))
  if (machine.resolveLeftover === undefined) throw new UsageError('--machine: must be xen:DOMAIN')
  return { name, resolve: (isHere) => machine.resolveLeftover!(isHere) }
}

async function resolveLeftover ({ resolve }: LeftoverMachine, code: number): Promise<string> {
  if (code === kExit.ownerUnknown) return 'the machine stays as it is'
  const isHere = code === kExit.done
  if (!await resolve(isHere)) return 'nothing is left of the machine\'s move'
  return isHere ? 'the machine goes on here' : 'what was left of the machine is removed'
}

async function withoutJournal (named: NamedDevice, force: boolean, output: Output): Promise<number> {
  const device = await takeOut(named, force)
  output.event({ event: 'recovered', migrations: [], device } as { event: string })
  output.line(device)
  return kExit.done
}

function codeFor (recovered: Recovered[]): number {
  if (recovered.some(({ here }) => here === 'unknown')) return kExit.ownerUnknown
  if (recovered.some(({ here }) => here === 'elsewhere')) return kExit.destinationOwns
  return kExit.done
}

const kWords = { here: 'owned here', elsewhere: 'owned by the other side', unknown: 'owner unknown' }

function lines ({ migration, disks, here, advice, token }: Recovered): string {
  const names = disks.map(({ name, epoch, size }) => (
    `${name} (epoch ${epoch}${size === undefined ? '' : `, the first ${size} bytes`})`)).join(', ')
  return [
    `${names}: ${kWords[here]}`,
    `  ${advice}`,
    `  migration ${migration}${token === null ? '' : `, token for the other side: ${token}`}`
  ].join('\n')
}
