// A serve with map files: killed in the middle of a migration and started again under its client, it
// knows what has changed. What has not is neither read nor sent again.
import { readFileSync, writeFileSync } from 'node:fs'

import type { Test } from 'tap'
import t from 'tap'

import { CliProcess, scratch } from './cli-process.js'
import { areEqual, kMiB, makeImage, nbdUri, qemuIo, Writer } from './disks.js'

const kMebibytes = 64

/** Bytes that a process has read by now, from files and sockets, cached or not. */
function readBytes (process: CliProcess): number {
  return Number(/rchar: (\d+)/.exec(readFileSync(`/proc/${process.child.pid}/io`, 'utf8'))![1])
}

async function start (t: Test) {
  const path = scratch(t)
  makeImage(path('a.img'), kMebibytes)
  const receiver = new CliProcess(t, [
    'receive', '--listen', '127.0.0.1:0', '--disk', `web=${path('b.img')}`, '--keep-listening', '--json'
  ])
  const { port } = await receiver.event('listening')
  const startServe = async () => {
    const serve = new CliProcess(t, [
      'serve', '--disk', `web=${path('a.img')}`, '--listen', `unix:${path('a.nbd')}`,
      '--control', path('a.control'), '--maps', path(''), '--json'
    ])
    await serve.event('serving')
    return serve
  }
  const send = (...more: string[]) => new CliProcess(t, [
    'send', '--control', path('a.control'), '--to', `127.0.0.1:${port}`, '--json', ...more
  ])
  const startWriter = () => new Writer(t, nbdUri('web', path('a.nbd')), kMebibytes * kMiB)
  return { path, receiver, startServe, send, startWriter }
}

/** Copies the disk, and kills the serve with its writer at work. */
async function copyAndKill ({ startServe, send, startWriter, path }: Awaited<ReturnType<typeof start>>) {
  const serve = await startServe()
  const writer = startWriter()
  const sending = send('--switchover', 'manual')
  await sending.event('ready')
  await writer.more(200)
  const read = readBytes(serve)
  serve.child.kill('SIGKILL')
  await serve.ended
  await writer.stop()
  return { read, lost: writer.lost(path('a.img')) }
}

t.test('a killed serve goes on where it was', async (t) => {
  const processes = await start(t)
  const { path, receiver, startServe, send, startWriter } = processes
  const { read, lost } = await copyAndKill(processes)
  t.same(lost, [])
  const serve = await startServe()
  const writer = startWriter()
  await writer.more(50)
  const before = readBytes(serve)
  const sending = send()
  const { report } = await sending.event('done')
  // What its writer has written meanwhile is read to be sent.
  const readAgain = readBytes(serve) - before - report.bytes.sent
  await writer.stop()
  await receiver.event('done')
  t.equal(report.equal, true)
  t.ok(report.bytes.same > kMebibytes * kMiB * 0.8, `${report.bytes.same} bytes were there`)
  t.ok(readAgain < read / 4, `${readAgain} bytes read, ${read} the first time`)
  t.same(writer.lost(path('b.img')), [])
  t.ok(areEqual(path('a.img'), path('b.img')))
})

t.test('what was written past it meanwhile is sent', async (t) => {
  const processes = await start(t)
  const { path, receiver, startServe, send } = processes
  await copyAndKill(processes)
  const image = readFileSync(path('a.img'))
  image.fill(9, 33 * kMiB, 33 * kMiB + 4096)
  writeFileSync(path('a.img'), image)
  await startServe()
  t.equal((await send().ended).code, 0)
  await receiver.event('done')
  t.ok(areEqual(path('a.img'), path('b.img')))
})

t.test('an honest end keeps all of it, for another destination, too', async (t) => {
  const processes = await start(t)
  const { path, receiver, startServe, send, startWriter } = processes
  const serve = await startServe()
  const sending = send('--switchover', 'manual')
  await sending.event('ready')
  const writer = startWriter()
  await writer.more(100)
  await writer.stop()
  await serve.end()
  writeFileSync(path('b.img'), Buffer.alloc(kMebibytes * kMiB, 1)) // it holds nothing of it any more
  await startServe()
  t.equal((await send().ended).code, 0)
  await receiver.event('done')
  t.ok(areEqual(path('a.img'), path('b.img')))
})

t.test('a map file that is another process\'s, or none', async (t) => {
  const { path, startServe } = await start(t)
  const serve = await startServe()
  const args = ['--listen', `unix:${path('c.nbd')}`, '--maps', path('')]
  const second = new CliProcess(t, ['serve', '--disk', `web=${path('a.img')}`, ...args])
  t.match((await second.ended).stderr, /BUSY/)
  await serve.end()
  writeFileSync(path('web.map'), 'notes of mine')
  const third = new CliProcess(t, ['serve', '--disk', `web=${path('a.img')}`, ...args])
  t.match((await third.ended).stderr, /no map file, and is left alone/)
  t.equal(readFileSync(path('web.map'), 'utf8'), 'notes of mine')
  t.ok(qemuIo(path('a.img'), 'read 0 4096'))
})
