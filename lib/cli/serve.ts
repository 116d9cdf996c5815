// blockferry serve: offers disks to NBD clients; they can move away and come back meanwhile.
import { DiskHost } from '../control/disk-host.js'
import type { Journal } from '../ownership/journal.js'
import { NbdServer } from '../nbd/server.js'
import type { Tap } from '../tap/tap.js'
import { openTap } from '../tap/open-tap.js'
import * as args from './args.js'
import type { Command, Values } from './command.js'
import { UsageError } from './usage-error.js'
import { mapOf } from './map-option.js'
import type { Output } from './output.js'
import { checkPlainNbd } from './tls-args.js'
import { log, openControl, openJournal, untilInterrupted } from './serving.js'

export const serve: Command = {
  name: 'serve',
  summary: 'offer disks to NBD clients, ready to move',
  help: `Usage: blockferry serve --disk NAME=PATH … --listen ADDRESS … [--control PATH] [OPTION …]

Offers files or block devices over NBD, each as an export of its name, to QEMU, the kernel's
nbd-client and any other. With a control socket \`blockferry send\` moves the disks while their
clients go on writing, and \`blockferry receive\` takes them back; serve outlives any number of
such migrations. Where a disk is not owned, writes to it fail.

  --disk NAME=PATH       (repeatable)
  --listen ADDRESS       unix:PATH or tcp:HOST:PORT, port 0 takes a free one (repeatable)
  --control PATH         make a control socket here, for this user only
  --journal PATH         remember here, across crashes, who owns the disks: one that has moved
                         away, or may have, is not written to after a restart
  --plain                listen also on an address that is not this host's loopback; NBD is not
                         encrypted, and whoever reaches it can read and write the disks
  --read-only            refuse writes
  --away                 the disks are owned elsewhere: refuse writes until \`blockferry receive\`
                         has brought them here
  --direct               O_DIRECT: bypass the page cache
${args.kSizeHelp}
${args.kForceHelp}
${args.kHolesHelp}
  --maps FOLDER          keep what is tracked of each disk in a file here, so that a migration which
                         goes on after a crash of this process neither reads nor sends again what
                         has not changed; 0.2 % of what is in the disks, for one boot (in /run)
  --track                keep a dirty map all the time, not only while migrating (benchmarks)
  --json                 events on stdout, one JSON object a line

SIGINT, SIGTERM and SIGHUP end it, a second one at once. A migration that has not committed is
cancelled then, and the exit code is 130, or 4 when the owner of its disks is unknown; else 0.`,
  options: {
    disk: { type: 'string', multiple: true },
    listen: { type: 'string', multiple: true },
    control: { type: 'string' },
    journal: { type: 'string' },
    'read-only': { type: 'boolean' },
    away: { type: 'boolean' },
    direct: { type: 'boolean' },
    size: { type: 'string', multiple: true },
    force: { type: 'boolean' },
    holes: { type: 'string' },
    maps: { type: 'string' },
    track: { type: 'boolean' },
    plain: { type: 'boolean' }
  },
  run
}

async function run (values: Values, output: Output): Promise<number> {
  const disks = args.namedPaths('--disk', args.texts(values, 'disk'))
  const sizes = args.sizes(values, disks)
  const listen = args.texts(values, 'listen')
    .map((address) => args.listenAddress('--listen', address))
  if (disks.length === 0) throw new UsageError('--disk: is needed')
  if (listen.length === 0) throw new UsageError('--listen: is needed')
  for (const address of listen) checkPlainNbd(values, '--listen', address)
  const journal = await openJournal(values)
  const host = new DiskHost({
    journal,
    server: new NbdServer({ plain: args.flag(values, 'plain') }),
    track: args.flag(values, 'track'),
    onEvent: (event, migration) => log(event, migration, output)
  })
  const path = args.text(values, 'control')
  try {
    for (const disk of disks) {
      const known = sizes.has(disk.name) ? null : journal?.sizeOf(disk.name) ?? null
      const size = sizes.get(disk.name) ?? known
      const tap = await openTap({
        source: disk.path,
        name: disk.name,
        ...(size !== null && { size }),
        readOnly: args.flag(values, 'read-only'),
        direct: args.flag(values, 'direct'),
        force: args.flag(values, 'force'),
        ...args.holes(values),
        ...mapOf(args.text(values, 'maps'), disk.name)
      })
      if (known !== null) noteSize(tap, output)
      if (args.flag(values, 'away') || !isOwnedHere(journal, disk.name, output)) tap.refuse()
      host.add(tap)
    }
    for (const address of listen) await host.listen(address)
    const control = await openControl(path, host)
    try {
      return await untilInterrupted(host, () => announce(host, path, output))
    } finally {
      await control?.close()
    }
  } finally {
    await host.close()
  }
}

/** Of a disk that came to larger storage. */
function noteSize ({ name, size, capacity, source }: Tap, output: Output): void {
  if (size === capacity) return
  output.note(`${name} has ${size} bytes, as the journal says; the other ${capacity - size} of ${source} are not ` +
    'served (--size changes that)')
}

/** What the journal says; without a word in it the disk is ours. */
function isOwnedHere (journal: Journal | null, name: string, output: Output): boolean {
  const known = journal?.ownershipOf(name) ?? null
  if (known === null || known.whereabouts === 'here') return true
  output.note(known.whereabouts === 'elsewhere'
    ? `${name} has moved away: writes to it are refused`
    : `nobody knows who owns ${name}: writes to it are refused until \`blockferry recover\` has told`)
  return false
}

function announce (host: DiskHost, control: string | undefined, output: Output): void {
  const { disks, listen } = host.status()
  output.event({ event: 'serving', disks, listen, control: control ?? null } as { event: string })
  output.line(`serving ${disks.map(({ name }) => name).join(', ')} at ${listen.join(', ')}`)
}
