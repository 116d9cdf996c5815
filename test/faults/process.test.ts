// The destination's process is killed, or stopped for a while, at moments that a seed draws: then
// what it left on its disk says who owns the source's.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import type { BlockferryError } from '../../lib/index.js'
import { migrate, recover } from '../../lib/index.js'
import { Random } from '../simulator/random.js'
import { hashOf } from '../support/images.js'
import { receiverProcess } from '../support/receiver-process.js'
import { FaultyLink } from './faulty-link.js'
import { kData, WrittenDisk } from './written-disk.js'

const kRuns = Number(process.env['BLOCKFERRY_FAULTS'] ?? 40)
/** For a destination to do what it must not. */
const kLateMs = 300
const kFirstSeed = Number(process.env['BLOCKFERRY_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

t.setTimeout(0)

async function run (t: Test, seed: number): Promise<void> {
  const random = new Random(seed)
  await using source = await WrittenDisk.open(seed)
  const { tap, writer, image } = source
  const [target, a, b] = ['target.img', 'a.journal', 'b.journal'].map((name) => source.path(name))
  const { child, address } = await receiverProcess(t, target!, b!)
  // Nothing happens on the link: it tells when so many bytes have passed.
  const link = await FaultyLink.to(address)
  const fault = random.pick(['killed', 'stopped', 'stopped for good'])
  const strike = async () => {
    child.kill(fault === 'killed' ? 'SIGKILL' : 'SIGSTOP')
    if (fault === 'stopped') {
      await sleep(random.scaleBetween(5, 3000))
      child.kill('SIGCONT')
    }
  }
  const migration = migrate({
    disks: [{ source: tap }], destination: link.address, linkTimeout: '1s', journal: a!,
    reconnect: random.pick([0, '1s']), budgets: { bandwidth: '20MB/s' }
  })
  if (random.next() < 0.5) link.after(random.scaleBetween(10, 4 * kData), strike)
  else {
    const step = random.pick(['pause', 'residual', 'commit'])
    migration.on('switchover', (event) => { if (event.step === step) void strike() })
  }
  const error = await migration.then(() => null, (thrown: unknown) => thrown as BlockferryError)
  // What it had received and not read may make it commit, too late.
  child.kill('SIGCONT')
  await sleep(kLateMs)
  child.kill('SIGKILL')
  if (child.signalCode === null && child.exitCode === null) await once(child, 'exit')
  await link.close()

  const about = `seed ${seed}: ${fault}: ${error === null ? 'moved' : `${error.code}, ${error.owner}`}`
  const there = (await recover(b!))[0]
  const alone = (await recover(a!, { patienceMs: 0 }))[0]
  const isThere = there?.here === 'here'
  t.not(there?.here, 'unknown', `${about}: the destination's journal knows`)
  t.notOk(isThere && (tap.state === 'open' || alone?.here === 'here'), `${about}: one owner`)
  if (error === null) t.ok(isThere && tap.state === 'refusing', `${about}: it is there`)
  else if (error.owner === 'source') t.ok(!isThere && tap.state === 'open', `${about}: it is here`)
  else t.match([error.owner, tap.state], ['unknown', 'holding'], about)
  if (tap.state !== 'refusing') t.equal(writer.error, null, `${about}: no write failed`)
  if (tap.state === 'open') await writer.pause()
  t.same(writer.lostIn(isThere ? target! : image), [], `${about}: no write is lost`)
  if (isThere) t.equal(await hashOf(target!), await hashOf(image), `${about}: both are equal`)
}

t.test('whatever happens to the destination', async (t) => {
  t.comment(`seeds ${kFirstSeed} to ${kFirstSeed + kRuns - 1}`)
  let next = 0
  const worker = async () => { while (next < kRuns) await run(t, kFirstSeed + next++) }
  await Promise.all([worker(), worker(), worker()])
})
