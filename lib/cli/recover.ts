// blockferry recover: who owns the disks after a crash.
import type { Recovered } from '../ownership/recover.js'
import { recover as recoverJournal } from '../ownership/recover.js'
import { parseTime } from '../units.js'
import * as args from './args.js'
import type { Command, Values } from './command.js'
import { kTlsHelp, kTlsOptions, rejectBoth, tls } from './tls-args.js'
import { kExit } from './exit-codes.js'
import type { Output } from './output.js'

export const recover: Command = {
  name: 'recover',
  summary: 'say who owns the disks after a crash, from a journal',
  help: `Usage: blockferry recover --journal PATH [--token TOKEN] [--patience TIME | --no-ask]

Reads what a serve, receive or send with --journal has left, settles it, and says who owns each
disk. Where the source can't know it asks the destination. When the two don't reach each other,
run it at the destination and give the token that it prints to the one at the source.

  --journal PATH         of a process that has ended
  --token TOKEN          what recover printed on the other host
  --patience TIME        how long to ask the destination (default 10s)
  --no-ask               don't
${kTlsHelp}
  --json                 the answer on stdout as one JSON object

Exit codes: 0 every disk is owned here; 1 something else went wrong; 3 a disk is owned by the other
side; 4 nobody knows yet.`,
  options: {
    journal: { type: 'string' },
    token: { type: 'string' },
    patience: { type: 'string' },
    'no-ask': { type: 'boolean' },
    ...kTlsOptions
  },
  run
}

async function run (values: Values, output: Output): Promise<number> {
  rejectBoth(values)
  const token = args.text(values, 'token')
  const patience = args.text(values, 'patience')
  const recovered = await recoverJournal(args.required(values, 'journal'), {
    ...(token !== undefined && { token }),
    ...tls(values),
    ...(args.flag(values, 'no-ask') && { patienceMs: 0 }),
    ...(patience !== undefined && { patienceMs: args.checked(() => parseTime('--patience', patience)) })
  })
  output.event({ event: 'recovered', migrations: recovered } as { event: string })
  output.line(recovered.map(lines).join('\n') || 'nothing has moved yet: the disks are owned here')
  if (recovered.some(({ here }) => here === 'unknown')) return kExit.ownerUnknown
  if (recovered.some(({ here }) => here === 'elsewhere')) return kExit.destinationOwns
  return kExit.done
}

const kWords = { here: 'owned here', elsewhere: 'owned by the other side', unknown: 'owner unknown' }

function lines ({ migration, disks, here, advice, token }: Recovered): string {
  const names = disks.map(({ name, epoch }) => `${name} (epoch ${epoch})`).join(', ')
  return [
    `${names}: ${kWords[here]}`,
    `  ${advice}`,
    `  migration ${migration}${token === null ? '' : `, token for the other side: ${token}`}`
  ].join('\n')
}
