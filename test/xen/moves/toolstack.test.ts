// What befalls a move between two hosts of Xen: the toolstack of either, its memory, and the link in each
// phase behind the bulk copy.
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import { missingNeed } from '../../../testbed/support/needs.js'
import { XenGuest } from '../../../testbed/xen/guest.js'
import type { XenHost } from '../../../testbed/xen/xen-host.js'
import { kMoments, Shuttle, until } from './shuttle.js'

const kCutMs = 12_000
/** Of memory, left free at a host: less than the guest has. */
const kFreeMiB = 24
/** xl locks as fcntl does, not as flock. */
const kHoldLock = `exec perl -MFcntl -e '
  open F, ">>", "/var/lock/xl" or die; my $lock = pack "s s x4 l! l! i x4", F_WRLCK, 0, 0, 0, 0;
  fcntl F, F_SETLKW, $lock or die; $| = 1; print "held\\n"; sleep 600'`

/** Takes most of the memory of a host. */
async function fill (host: XenHost): Promise<void> {
  const free = Number(await host.must("xl info | sed -n 's/^free_memory *: //p'"))
  const hog = new XenGuest({ name: 'hog', disks: [], memoryMiB: free - kFreeMiB, address: '10.8.0.11' })
  await host.must(`xl create -p ${await hog.configure(host)}`)
}

/** Kills xl's processes of a kind. Answers how many there were. */
async function killAll (host: XenHost, kind: RegExp): Promise<number> {
  const lines = (await host.must('busybox ps -o pid,args')).split('\n')
  const pids = lines.flatMap((line) => {
    const [, pid, command] = /^ *(\d+) (.*)/.exec(line) ?? []
    return pid !== undefined && kind.test(command!) ? [pid] : []
  })
  if (pids.length > 0) await host.must(`kill -9 ${pids.join(' ')}`)
  return pids.length
}

async function holdLock (host: XenHost): Promise<() => void> {
  const holding = host.start(kHoldLock)
  while (!holding.output.includes('held')) await sleep(50)
  return () => holding.kill()
}

t.test('a move', { skip: (await missingNeed()) ?? false }, async (t) => {
  const shuttle = await Shuttle.begin(t)

  await t.test('the other host has too little memory', async (t) => {
    await fill(shuttle.there)
    const move = await shuttle.start()
    await move.source.ended
    t.match(move.source.output(), /at the destination \d+ are free/)
    await shuttle.there.must('xl destroy hog')
    await shuttle.stays(t, move)
  })

  await t.test("the other host's memory is taken meanwhile", async (t) => {
    const move = await shuttle.start({ bandwidth: '500kB/s' })
    await until(move, (said) => 'progress' in said)
    await fill(shuttle.there)
    await move.source.ended
    t.match(move.source.output(), /xl migrate-receive: .*fail/i)
    await shuttle.there.must('xl destroy hog')
    await shuttle.stays(t, move)
  })

  await t.test("somebody holds xl's lock for a while", async (t) => {
    const releases = await Promise.all(shuttle.hosts.all.map(holdLock))
    const move = await shuttle.start()
    t.ok(await until(move, (said) => 'memory' in said), 'it begins', { output: move.source.output() })
    const before = await shuttle.writes()
    await sleep(3000)
    t.ok(await shuttle.writes() > before, 'the guest runs on while it waits')
    t.notMatch(move.source.output(), /"step"/)
    for (const release of releases) release()
    t.equal((await move.source.ended).code, 0, 'it goes on', { output: move.source.output() })
    await shuttle.settles(t, move)
  })

  await t.test("the domain's xl is killed, and another asks all the time", async (t) => {
    t.ok(await killAll(shuttle.here, /^xl (create|migrate-receive)/) > 0, 'it watched over the domain')
    const asking = shuttle.here.start('while xl list -l > /run/listed; do sleep 2; done')
    const move = await shuttle.start()
    t.equal((await move.source.ended).code, 0, 'it has moved', { output: move.source.output() })
    asking.kill()
    await shuttle.settles(t, move)
  })

  await t.test('the xl that sends its memory is killed', async (t) => {
    const move = await shuttle.start()
    await until(move, (said) => 'memory' in said)
    t.ok(await killAll(shuttle.here, /^xl migrate -s/) > 0)
    await shuttle.stays(t, move)
  })

  for (const [moment, isSo] of Object.entries(kMoments)) {
    await t.test(`the link is cut ${moment}`, async (t) => {
      const move = await shuttle.start()
      t.ok(await until(move, isSo), 'it comes to that', { output: move.source.output() })
      await shuttle.setLink('down')
      await sleep(kCutMs)
      await shuttle.setLink('up')
      await shuttle.settles(t, move)
    })
  }

  await t.test('no acknowledged write is lost', (t) => shuttle.losesNoWrite(t))
})
