// The source is killed: the destination owns the disk only if the commit had reached it. What it
// has is kept, and a migration of the same disk from a new process goes through.
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'
import t from 'tap'

import { message } from '../support/frame-proxy.js'
import { CliProcess } from './cli-process.js'
import { areEqual, exportsAt, nbdUri, qemuIo } from './disks.js'
import type { Proxied } from './proxied.js'
import { startProxied, startSend, startServe } from './proxied.js'

/** Time for the destination to verify what came before the commit: a source that is gone before
 * that has not moved anything. */
const kVerifyMs = 1000

async function kill (process: CliProcess): Promise<void> {
  process.child.kill('SIGKILL')
  await process.ended
}

/** With a receive that outlives failures and serves what has arrived. */
async function startServing (t: Test): Promise<Proxied> {
  return await startProxied(t, (path) => ['--keep-listening', '--serve', `unix:${path('b.nbd')}`])
}

/** Send from the serve, or, without it, of its file; and the process to be killed. */
async function startVictim (t: Test, processes: Proxied, alone: boolean, ...more: string[]) {
  const { path, serve, proxy, writer, send } = processes
  if (!alone) return { sending: send(...more), victim: serve }
  await writer.stop()
  await serve.end()
  const to = `127.0.0.1:${proxy.address.port}`
  const sending = new CliProcess(t, [
    'send', '--disk', `web=${path('a.img')}`, '--to', to, '--json', ...more
  ])
  return { sending, victim: sending }
}

/** The destination does not own the disk, keeps what it has, and takes the next migration. */
async function checkNext (t: Test, { path, receiver, proxy, writer }: Proxied): Promise<void> {
  t.match(await receiver.event('failed'), { error: { code: 'PEER_GONE', owner: 'source' } })
  t.same(exportsAt(path('b.nbd')), [], 'the destination serves nothing')
  t.ok(existsSync(path('b.img')), 'what was copied is kept')
  await writer.stop()
  t.same(writer.lost(path('a.img')), [], 'the source has every acknowledged write')
  proxy.restore()
  const serve = startServe(t, path)
  await serve.event('serving')
  t.ok(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 5 8192 4096'), 'the source takes writes')
  t.equal((await startSend(t, path, proxy.address.port).ended).code, 0)
  await receiver.event('done')
  t.same(exportsAt(path('b.nbd')), ['web'])
  t.ok(areEqual(path('a.img'), path('b.img')))
}

for (const alone of [false, true]) {
  const what = alone ? 'a send of a file' : 'serve'
  t.test(`${what} is killed in the rounds`, async (t) => {
    const processes = await startServing(t)
    const { sending, victim } = await startVictim(t, processes, alone, '--switchover', 'manual')
    await sending.event('ready')
    await kill(victim)
    if (!alone) t.equal((await sending.ended).code, 4, 'send has lost sight of it')
    await checkNext(t, processes)
  })

  t.test(`${what} is killed at the commit, which is lost`, async (t) => {
    const processes = await startServing(t)
    const { held } = processes.proxy.hold(message('commit'))
    const { sending, victim } = await startVictim(t, processes, alone)
    await held
    await kill(victim)
    processes.proxy.cut()
    if (!alone) t.equal((await sending.ended).code, 4)
    await checkNext(t, processes)
  })

  t.test(`${what} is killed at the commit, which arrives: the destination owns it`, async (t) => {
    const processes = await startServing(t)
    const { path, proxy, receiver, writer } = processes
    const { held, release } = proxy.hold(message('commit'))
    const { victim } = await startVictim(t, processes, alone)
    await held
    await sleep(kVerifyMs)
    await kill(victim)
    release()
    await receiver.event('done')
    await writer.stop()
    t.same(writer.lost(path('b.img')), [], 'every acknowledged write is there')
    t.ok(areEqual(path('a.img'), path('b.img')))
    t.same(exportsAt(path('b.nbd')), ['web'])
    t.ok(qemuIo(nbdUri('web', path('b.nbd')), 'write -P 5 8192 4096'))
  })
}
