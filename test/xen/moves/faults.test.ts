// What befalls a move between two hosts of Xen: one of them runs the guest afterwards, with all its
// acknowledged writes, and the other has nothing of it.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import { missingNeed } from '../../hosts/needs.js'
import { noise } from '../../support/images.js'
import { XenGuest } from '../guest.js'
import { linearDisk } from '../linear-disk.js'
import { findCard } from '../link-card.js'
import { startMove } from '../side.js'
import { lostWrites } from '../writes.js'
import type { XenHost } from '../xen-host.js'
import { XenHosts } from '../xen-hosts.js'

t.setTimeout(2_400_000)

const kDisk = '/dev/mapper/web'
const kJournal = '/run/web.journal'
const kBlockScript = '/etc/xen/scripts/block'
const kCutMs = 12_000
/** Content that takes its time over a slow link. */
const kNoise = 8 << 20

type Move = Awaited<ReturnType<typeof startMove>>

async function domains (host: XenHost): Promise<string[]> {
  const lines = (await host.must('xl list')).trim().split('\n').slice(2)
  return lines.map((line) => line.split(/\s+/)[0]!)
}

async function until (move: Move, isSo: (said: Record<string, unknown>) => boolean): Promise<boolean> {
  let isOver = false
  void move.source.ended.catch(() => {}).then(() => { isOver = true })
  while (!move.source.said().some(isSo)) {
    if (isOver) return false
    await sleep(20)
  }
  return true
}

t.test('a move', { skip: (await missingNeed()) ?? false }, async (t) => {
  const hosts = await XenHosts.boot({ guestsMiB: 256 })
  t.teardown(() => hosts.close())
  const disk = openSync(hosts.a.disk(), 'r+')
  writeSync(disk, noise(1, kNoise))
  closeSync(disk)
  for (const host of hosts.all) await linearDisk(host, { mebibytes: 32 })
  const guest = await XenGuest.create(hosts.a, { disks: [`phy:${kDisk}`], spanBlocks: 256, pauseMicros: 100_000 })
  let [here, there] = [hosts.a, hosts.b]

  async function start (more: { bandwidth?: string } = {}): Promise<Move> {
    const disks = [{ name: 'web', path: kDisk }]
    return await startMove(here, there, {
      domain: 'web', disks, tap: 'dm', memory: 'live', journal: kJournal, linkTimeout: '5s', ...more
    })
  }

  /** The guest runs on one host, and goes on writing; nothing of it is on the other. */
  async function runsOn (t: Test, host: XenHost): Promise<void> {
    const other = host === hosts.a ? hosts.b : hosts.a
    t.same([await domains(host), await domains(other)], [['web'], []], 'one runs')
    await guest.ready(host)
    const count = async () => (await guest.writes(host))[0]!.reduce((sum, { count }) => sum + count, 0)
    const before = await count()
    await sleep(2000)
    t.ok(await count() > before, 'it writes', { guest: await guest.says(host) })
    if (host === here) return
    ;[here, there] = [there, here]
    await there.must(there.cli('recover', '--device', kDisk, '--force')) // it is fenced since the disk has moved
  }

  await t.test('the link is cut for a while', async (t) => {
    const move = await start({ bandwidth: '1MB/s' })
    await until(move, (said) => 'progress' in said)
    await there.must(`${findCard}; ip link set $card down`)
    await sleep(kCutMs)
    await there.must(`${findCard}; ip link set $card up`)
    const { code } = await move.source.ended
    t.equal(code, 0, 'it goes on')
    t.match(move.source.output(), /"reconnecting"/)
    if (code !== 0) t.comment(`${move.source.output()} ${move.destination.output()}`)
    await runsOn(t, code === 0 ? there : here)
    move.destination.kill()
  })

  await t.test('the block script fails at the destination', async (t) => {
    await there.must(`cp -p ${kBlockScript} /run/block; printf '#!/bin/sh\\nexit 1\\n' > ${kBlockScript}`)
    const { source, destination } = await start()
    const { code } = await source.ended
    t.equal(code, 1)
    t.match(source.output(), /"failed":"MACHINE","owner":"source"/)
    destination.kill()
    await there.must(`cp -p /run/block ${kBlockScript}`)
    await runsOn(t, here)
  })

  const moments: Record<string, (said: Record<string, unknown>) => boolean> = {
    'while its memory goes': (said) => 'memory' in said,
    'when it is paused': ({ step }) => step === 'residual',
    'when the commit is on its way': ({ step }) => step === 'commit'
  }
  for (const [moment, isSo] of Object.entries(moments)) {
    await t.test(`both sides are killed ${moment}`, async (t) => {
      const move = await start()
      await until(move, isSo)
      move.source.kill()
      move.destination.kill()
      await Promise.allSettled([move.source.ended, move.destination.ended])
      const recover = async (host: XenHost, ...more: string[]) => {
        const command = host.cli('recover', '--journal', kJournal, '--machine', 'xen:web', '--json', ...more)
        const { code, output } = await host.run(command)
        t.comment(`${code} ${output}`)
        const line = output.trim().split('\n').at(-1)!
        return { code, token: JSON.parse(line).migrations[0]?.token as string | null }
      }
      const { code, token } = await recover(there, '--no-ask')
      const isThere = code === 0 && token !== null
      const device = ['--device', `web=${kDisk}`]
      const answer = token === null ? ['--no-ask'] : ['--token', token]
      const again = await recover(here, ...answer, ...(isThere ? [] : device))
      t.equal(again.code, isThere ? 3 : 0)
      await runsOn(t, isThere ? there : here)
    })
  }

  await t.test('no acknowledged write is lost', async (t) => {
    await guest.stopWriters(here)
    const content = readFileSync(here.disk())
    for (const writes of (await guest.writes(here))[0]!) {
      t.same(lostWrites(content, writes), [], `${writes.count} writes`)
    }
  })

  await t.test('the domain dies', async (t) => {
    const move = await start()
    await until(move, (said) => 'memory' in said)
    await here.must('xl destroy web')
    t.equal((await move.source.ended).code, 1)
    t.match(move.source.output(), /"failed":"MACHINE","owner":"source"/)
    move.destination.kill()
    t.same([await domains(here), await domains(there)], [[], []])
  })
})
