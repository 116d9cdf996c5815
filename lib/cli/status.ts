// blockferry status: what a serve holds and does.
import type { PastMigration, RunningMigration, Status } from '../control/protocol.js'
import { listRedirects } from '../network/redirect/state.js'
import { kRuntimeFolder } from '../base/runtime-folder.js'
import { text } from './args.js'
import type { Command } from './command.js'
import { kExit } from './exit-codes.js'
import { formatBytes, formatTime } from './format.js'
import { leftoverTaps } from '../tap/leftovers.js'
import { leftoverTapText } from './leftover-taps.js'
import type { Stage } from './progress-line.js'
import { progressLine } from './progress-line.js'
import { redirectText } from './redirect-text.js'
import { ask } from './running.js'

export const status: Command = {
  name: 'status',
  summary: 'show the disks and migrations of a serve or receive, and what is left on this host',
  help: `Usage: blockferry status [--control PATH] [--state FOLDER]

Shows the disks, who owns them, the NBD clients, the running migrations with their forecast, the
past ones; and, also without --control, the redirections of addresses on this host, and the taps in
its kernel, those that killed processes have left included.

  --control PATH         the control socket of a serve or receive
  --state FOLDER         where redirections keep their state (default ${kRuntimeFolder})
  --json                 all of it on stdout as one JSON object`,
  options: { control: { type: 'string' }, state: { type: 'string' } },
  run: async (values, output) => {
    const status = text(values, 'control') === undefined ? null : await ask(values, 'status', {})
    const redirects = await listRedirects(text(values, 'state') ?? kRuntimeFolder)
    const taps = await leftoverTaps()
    output.event({ event: 'status', ...status, redirects, taps } as { event: string })
    const onHost = [...redirects.map(redirectText), ...taps.map(leftoverTapText)]
    const none = status === null && onHost.length === 0 ? ['no redirection and no tap on this host'] : []
    output.line([...(status === null ? [] : [statusText(status)]), ...onHost, ...none].join('\n'))
    return kExit.done
  }
}

const kStates = {
  open: 'owned here',
  refusing: 'owned elsewhere, writes are refused',
  holding: 'on hold: a switchover, or its owner is unknown'
}
const kPastShown = 5

export function statusText ({ disks, listen, clients, running, past }: Status): string {
  return [
    ...disks.map(diskLine),
    ...(disks.length === 0 ? ['no disk yet'] : []),
    ...(listen.length === 0 ? [] : [`NBD at ${listen.join(', ')}: ${counted(clients)}`]),
    ...running.flatMap(runningLines),
    ...past.slice(0, kPastShown).map(pastLine)
  ].join('\n')
}

function diskLine ({ name, size, state, source, readOnly }: Status['disks'][number]): string {
  const mode = readOnly ? ', read only' : ''
  return `disk ${name}: ${formatBytes(size)}, ${kStates[state]}${mode} (${source})`
}

function counted (clients: number): string {
  return `${clients} ${clients === 1 ? 'client' : 'clients'}`
}

function runningLines (running: RunningMigration): string[] {
  const { migration, direction, disks, address, state, progress } = running
  const where = direction === 'out' ? `to ${address}` : `on ${address}`
  const head = `migration ${migration.slice(0, 8)} of ${disks.join(', ')} ${where}: ${state}`
  if (progress === null) return [head]
  const isStage = ['paused', 'ready', 'switchover'].includes(state)
  const stage = isStage ? state as Stage : 'copying'
  return [head, progressLine(progress, stage, { width: 0, color: false, unicode: false })]
}

function pastLine (past: PastMigration): string {
  const { migration, direction, disks, address, endedAt, error, durationMs, downtimeMs } = past
  const way = direction === 'out' ? `to ${address}` : `received on ${address}`
  const times = durationMs === null ? '' : ` in ${formatTime(durationMs)}`
  const downtime = downtimeMs === null ? '' : `, downtime ${formatTime(downtimeMs)}`
  const outcome = error === null
    ? `done${times}${downtime}`
    : `failed: ${error.code}: ${error.message}`
  return `past ${migration.slice(0, 8)} of ${disks.join(', ')} ${way}, ${endedAt}: ${outcome}`
}
