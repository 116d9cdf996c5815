// SIGINT in the rounds and in the switchover, to each of the three processes: what has not
// committed is cancelled and the writer writes on; what is too late to stop is finished.
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'

import type { Test } from 'tap'
import t from 'tap'

import { message } from '../support/frame-proxy.js'
import type { CliProcess } from './cli-process.js'
import { areEqual } from './disks.js'
import type { Proxied } from './proxied.js'
import { startProxied } from './proxied.js'

const kManual = ['--switchover', 'manual']

/** The writer saw nothing of it; serve ends in order and leaves no socket. */
async function checkSourceGoesOn (t: Test, { path, serve, writer }: Proxied): Promise<void> {
  await writer.more(50)
  t.notOk(writer.refused, 'the writer saw nothing of it')
  await writer.stop()
  t.same(writer.lost(path('a.img')), [])
  t.equal(await serve.end('SIGINT'), 0, 'serve had nothing to cancel any more')
  checkLeftovers(t, path)
}

function checkLeftovers (t: Test, path: Proxied['path']): void {
  t.same(readdirSync(dirname(path('a.img'))).sort(), ['a.img', 'b.img'], 'no socket is left')
}

function checkFailed (t: Test, sending: CliProcess, code: string): void {
  t.match(sending.events().at(-1), { event: 'failed', error: { code, owner: 'source' } })
}

/** A send that has come to the commit message, which is held back. */
async function untilCommit (processes: Proxied) {
  const { held, release } = processes.proxy.hold(message('commit'))
  const sending = processes.send()
  await held
  return { sending, release }
}

async function checkMoved (t: Test, { path, writer, receiver }: Proxied): Promise<void> {
  t.equal((await receiver.ended).code, 0)
  await writer.stop()
  t.ok(writer.refused, 'the source refuses writes now')
  t.same(writer.lost(path('b.img')), [])
  t.ok(areEqual(path('a.img'), path('b.img')))
}

t.test('to send in the rounds', async (t) => {
  const processes = await startProxied(t)
  const sending = processes.send(...kManual)
  await sending.event('ready')
  t.equal(await sending.end('SIGINT'), 130)
  checkFailed(t, sending, 'CANCELLED')
  t.equal((await processes.receiver.ended).code, 1)
  await checkSourceGoesOn(t, processes)
})

t.test('to serve in the rounds', async (t) => {
  const processes = await startProxied(t)
  const sending = processes.send(...kManual)
  await sending.event('ready')
  t.equal(await processes.serve.end('SIGINT'), 130)
  t.equal((await sending.ended).code, 1)
  checkFailed(t, sending, 'CANCELLED')
  t.equal((await processes.receiver.ended).code, 1)
  await processes.writer.stop()
  t.same(processes.writer.lost(processes.path('a.img')), [])
  checkLeftovers(t, processes.path)
})

t.test('to receive in the rounds', async (t) => {
  const processes = await startProxied(t)
  const sending = processes.send(...kManual)
  await sending.event('ready')
  t.equal(await processes.receiver.end('SIGINT'), 130)
  t.equal((await sending.ended).code, 1)
  checkFailed(t, sending, 'CLOSED')
  await checkSourceGoesOn(t, processes)
})

t.test('to send at the commit: too late, it is finished', async (t) => {
  const processes = await startProxied(t)
  const { sending, release } = await untilCommit(processes)
  sending.child.kill('SIGINT')
  await new Promise((resolve) => setTimeout(resolve, 200)) // so that it is heard before
  release()
  t.equal((await sending.ended).code, 0)
  t.equal(sending.events().at(-1).event, 'done')
  await checkMoved(t, processes)
  t.equal(await processes.serve.end('SIGINT'), 0)
  checkLeftovers(t, processes.path)
})

t.test('to send at the commit, which is lost: it failed, the source goes on', async (t) => {
  const processes = await startProxied(t, () => ['--keep-listening'])
  const { sending } = await untilCommit(processes)
  sending.child.kill('SIGINT')
  await new Promise((resolve) => setTimeout(resolve, 200))
  processes.proxy.cut()
  processes.proxy.restore()
  t.equal((await sending.ended).code, 1)
  checkFailed(t, sending, 'PEER_GONE')
  await checkSourceGoesOn(t, processes)
})

t.test('to serve at the commit: it finishes before it ends', async (t) => {
  const processes = await startProxied(t)
  const { sending, release } = await untilCommit(processes)
  processes.serve.child.kill('SIGINT')
  await new Promise((resolve) => setTimeout(resolve, 200))
  release()
  t.equal((await sending.ended).code, 0)
  t.equal((await processes.serve.ended).code, 0, 'nothing was cancelled')
  await checkMoved(t, processes)
  checkLeftovers(t, processes.path)
})

t.test('to receive at the commit: it says so, and the source goes on', async (t) => {
  const processes = await startProxied(t)
  const { sending } = await untilCommit(processes)
  t.equal(await processes.receiver.end('SIGINT'), 130)
  t.equal((await sending.ended).code, 1)
  checkFailed(t, sending, 'CLOSED')
  await checkSourceGoesOn(t, processes)
})

t.test('to serve at the commit, which is lost, and nobody answers', async (t) => {
  const processes = await startProxied(t)
  const { sending } = await untilCommit(processes)
  processes.serve.child.kill('SIGINT')
  processes.proxy.cut()
  t.equal((await processes.serve.ended).code, 4)
  t.equal((await sending.ended).code, 4)
  await processes.writer.stop()
})

/** Two signals that are not heard apart would be one. */
function interruptUntilItEnds (t: Test, { child, ended }: CliProcess): CliProcess['ended'] {
  const timer = setInterval(() => child.kill('SIGINT'), 200)
  t.teardown(() => clearInterval(timer))
  return ended
}

for (const who of ['serve', 'send'] as const) {
  t.test(`twice to ${who} at the commit: it ends at once, and the commit counts`, async (t) => {
    const processes = await startProxied(t, () => ['--link-timeout', '1s'])
    const { sending, release } = await untilCommit(processes)
    const ended = interruptUntilItEnds(t, who === 'serve' ? processes.serve : sending)
    t.equal((await ended).code, 4, 'the owner is unknown to it')
    if (who === 'send') {
      t.match(sending.events().at(-1), { event: 'failed', error: { owner: 'unknown' } })
    }
    if (who === 'serve') t.equal((await sending.ended).code, 4, 'send has lost sight of it')
    release()
    await checkMoved(t, processes)
  })
}

t.test('twice to receive when it has decided: the disk is there', async (t) => {
  const processes = await startProxied(t)
  const { held, release } = processes.proxy.hold(message('committed'))
  const sending = processes.send()
  await held
  t.equal((await interruptUntilItEnds(t, processes.receiver)).code, 3)
  release()
  t.equal((await sending.ended).code, 0)
  await processes.writer.stop()
  t.same(processes.writer.lost(processes.path('b.img')), [])
})
