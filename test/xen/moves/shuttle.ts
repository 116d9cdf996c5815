// A guest that moves between two hosts of Xen, whatever befalls it: one of them runs it afterwards, with all
// its acknowledged writes, and the other has nothing of it.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'

import { noise } from '../../../testbed/support/images.js'
import { XenGuest } from '../../../testbed/xen/guest.js'
import { linearDisk } from '../../../testbed/xen/linear-disk.js'
import { findCard } from '../../../testbed/xen/link-card.js'
import { type Said, startMove } from '../../../testbed/xen/side.js'
import { lostWrites } from '../../../testbed/xen/writes.js'
import type { XenHost } from '../../../testbed/xen/xen-host.js'
import { XenHosts } from '../../../testbed/xen/xen-hosts.js'

const kDisk = '/dev/mapper/web'
const kJournal = '/run/web.journal'
/** Content that takes its time over a slow link. */
const kNoise = 8 << 20
/** xl takes its time to remove what came to nothing. */
const kGoneMs = 60_000

/** Of a move behind its bulk copy: what the source says when they have come. */
export const kMoments: Record<string, (said: Said) => boolean> = {
  'while its memory goes': (said) => 'memory' in said,
  'when it is paused': ({ step }) => step === 'residual',
  'when the commit is on its way': ({ step }) => step === 'commit'
}

export type Move = Awaited<ReturnType<typeof startMove>>

export async function domains (host: XenHost): Promise<string[]> {
  const lines = (await host.must('xl list')).trim().split('\n').slice(2)
  return lines.map((line) => line.split(/\s+/)[0]!)
}

/** False when the move is over before the source has said so. */
export async function until (move: Move, isSo: (said: Said) => boolean): Promise<boolean> {
  let isOver = false
  void move.source.ended.catch(() => {}).then(() => { isOver = true })
  while (!move.source.said().some(isSo)) {
    if (isOver) return false
    await sleep(20)
  }
  return true
}

export class Shuttle {
  /** The host where the guest is. */
  here: XenHost
  there: XenHost

  private constructor (readonly hosts: XenHosts, readonly guest: XenGuest) {
    this.here = hosts.a
    this.there = hosts.b
  }

  static async begin (t: Test): Promise<Shuttle> {
    const hosts = await XenHosts.boot({ guestsMiB: 256 })
    t.teardown(() => hosts.close())
    const disk = openSync(hosts.a.disk(), 'r+')
    writeSync(disk, noise(1, kNoise))
    closeSync(disk)
    for (const host of hosts.all) await linearDisk(host, { mebibytes: 32 })
    const options = { disks: [`phy:${kDisk}`], spanBlocks: 256, pauseMicros: 100_000 }
    return new Shuttle(hosts, await XenGuest.create(hosts.a, options))
  }

  async start (more: { bandwidth?: string } = {}): Promise<Move> {
    const disks = [{ name: 'web', path: kDisk }]
    return await startMove(this.here, this.there, {
      domain: 'web', disks, tap: 'dm', memory: 'live', journal: kJournal, linkTimeout: '5s', ...more
    })
  }

  async setLink (state: 'up' | 'down'): Promise<void> {
    await this.there.must(`${findCard}; ip link set $card ${state}`)
  }

  /** How many writes were acknowledged until now. */
  async writes (): Promise<number> {
    return (await this.guest.writes(this.here))[0]!.reduce((sum, { count }) => sum + count, 0)
  }

  /** The guest runs on one host, and goes on writing; nothing of it is on the other. */
  async runsOn (t: Test, host: XenHost): Promise<void> {
    if (host !== this.here) [this.here, this.there] = [this.there, this.here]
    const deadline = Date.now() + kGoneMs
    while ((await domains(this.there)).length > 0 && Date.now() < deadline) await sleep(500)
    t.same([await domains(this.here), await domains(this.there)], [['web'], []], 'one runs')
    await this.guest.ready(this.here)
    const before = await this.writes()
    await sleep(2000)
    t.ok(await this.writes() > before, 'it writes', { guest: await this.guest.says(this.here) })
  }

  /** It came to nothing, with the source in charge. */
  async stays (t: Test, move: Move, code = 'MACHINE'): Promise<void> {
    t.equal((await move.source.ended).code, 1)
    t.match(failure(move), { failed: code, owner: 'source' }, 'the source owns it', { output: move.source.output() })
    move.destination.kill()
    await this.runsOn(t, this.here)
  }

  /** Both processes have ended, or are to: asks both journals where the guest is, and lets it run there. */
  async recover (t: Test, move: Move): Promise<void> {
    move.source.kill()
    move.destination.kill()
    await Promise.allSettled([move.source.ended, move.destination.ended])
    const { code, token } = await this.#ask(t, this.there, '--no-ask')
    const isThere = code === 0 && token !== null
    const answer = token === null ? ['--no-ask'] : ['--token', token]
    const again = await this.#ask(t, this.here, ...answer, '--device', `web=${kDisk}`)
    t.equal(again.code, isThere ? 3 : 0)
    await this.runsOn(t, isThere ? this.there : this.here)
  }

  async #ask (t: Test, host: XenHost, ...more: string[]): Promise<{ code: number, token: string | null }> {
    const command = host.cli('recover', '--journal', kJournal, '--machine', 'xen:web', '--json', ...more)
    const { code, output } = await host.run(command)
    t.comment(`${code} ${output}`)
    const line = output.trim().split('\n').at(-1)!
    return { code, token: JSON.parse(line).migrations[0]?.token ?? null }
  }

  /** Whatever became of the move, at its end. */
  async settles (t: Test, move: Move): Promise<void> {
    const { code } = await move.source.ended
    const { owner } = failure(move) ?? {}
    t.comment(`${code} ${JSON.stringify(failure(move))}`)
    if (code !== 0 && owner === 'source') return await this.stays(t, move, failure(move)!['failed'])
    if (code !== 0) return await this.recover(t, move)
    await this.runsOn(t, this.there)
    move.destination.kill()
  }

  async losesNoWrite (t: Test): Promise<void> {
    await this.guest.stopWriters(this.here)
    const content = readFileSync(this.here.disk())
    for (const writes of (await this.guest.writes(this.here))[0]!) {
      t.same(lostWrites(content, writes), [], `${writes.count} writes`)
    }
  }
}

function failure ({ source }: Move): Said | undefined {
  return source.said().find((line) => 'failed' in line)
}
