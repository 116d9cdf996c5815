// Disks go out and come back between two serving processes.
import t from 'tap'

import { CliProcess, jsonLines, run, scratch, serve } from './cli-process.js'
import { areEqual, kMiB, makeImage, nbdUri, qemuIo, Writer } from './disks.js'

const kDiskMiB = 32

t.test('out and back between two serving processes, three times, both disks under writers', async (t) => {
  const path = scratch(t)
  makeImage(path('a-web.img'), kDiskMiB)
  makeImage(path('a-data.img'), 16)
  const a = serve(t, path, 'a', 'web', 'data')
  await a.event('serving')
  const b = new CliProcess(t, [
    'receive', '--disk', `web=${path('b-web.img')}`, '--disk', `data=${path('b-data.img')}`,
    '--listen', '127.0.0.1:0', '--serve', `unix:${path('b.nbd')}`, '--control', path('b.control'), '--json'
  ])
  let { host, port } = await b.event('listening')
  const waits: CliProcess[] = []
  for (const [from, to] of ['ab', 'ba', 'ab', 'ba'] as const) {
    const writers = [
      new Writer(t, nbdUri('web', path(`${from}.nbd`)), kDiskMiB * kMiB),
      new Writer(t, nbdUri('data', path(`${from}.nbd`)), 16 * kMiB)
    ]
    for (const writer of writers) await writer.more(20)
    const sent = await run(t, 'send', '--control', path(`${from}.control`), '--to', `${host}:${port}`, '--json')
    t.equal(sent.code, 0)
    t.match(jsonLines(sent.stdout).at(-1), { event: 'done', report: { equal: true, disks: [{ name: 'web' }, { name: 'data' }] } })
    for (const writer of writers) await writer.stop()
    t.same(writers[0]!.lost(path(`${to}-web.img`)), [])
    t.same(writers[1]!.lost(path(`${to}-data.img`)), [])
    for (const disk of ['web', 'data']) t.ok(areEqual(path(`a-${disk}.img`), path(`b-${disk}.img`)), `${from} to ${to}: ${disk}`)
    await Promise.all(waits.map(async (wait) => t.equal((await wait.ended).code, 0)))
    const back = new CliProcess(t, ['receive', '--control', path(`${from}.control`), '--listen', '127.0.0.1:0', '--json']);
    ({ host, port } = await back.event('listening'))
    waits.splice(0, waits.length, back)
  }
  t.equal(await waits[0]!.end('SIGINT'), 130, 'the last one waits for nobody')
  t.match((await waits[0]!.ended).stdout, /"code":"CANCELLED"/)
  const status = JSON.parse((await run(t, 'status', '--control', path('a.control'), '--json')).stdout)
  t.match(status.disks, [{ name: 'web', state: 'open' }, { name: 'data', state: 'open' }])
  t.equal(status.past.length, 4)
  t.equal(await a.end(), 0)
  t.equal(await b.end(), 0)
})

t.test('zeroes travel to a disk that was empty the first time, compared or not', async (t) => {
  const path = scratch(t)
  makeImage(path('a-web.img'), 16)
  const a = serve(t, path, 'a', 'web')
  await a.event('serving')
  const b = new CliProcess(t, [
    'receive', '--disk', `web=${path('b-web.img')}`, '--listen', '127.0.0.1:0',
    '--serve', `unix:${path('b.nbd')}`, '--control', path('b.control'), '--json'
  ])
  let { host, port } = await b.event('listening')
  const back = async (name: string) => {
    const waiting = new CliProcess(t, ['receive', '--control', path(`${name}.control`), '--listen', '127.0.0.1:0', '--json']);
    ({ host, port } = await waiting.event('listening'))
  }
  const move = async (name: string) => {
    const sent = await run(t, 'send', '--control', path(`${name}.control`), '--to', `${host}:${port}`, '--no-equality')
    t.equal(sent.code, 0)
    t.ok(areEqual(path('a-web.img'), path('b-web.img')))
  }
  await move('a')
  t.ok(qemuIo(nbdUri('web', path('b.nbd')), 'write -P 5 0 1M'), 'where there was a hole')
  await back('a')
  await move('b')
  t.ok(qemuIo(nbdUri('web', path('a.nbd')), 'write -z 0 1M', 'write -z 8M 1M'))
  await back('b')
  await move('a')
})

t.test('taking back a disk that is owned here is refused', async (t) => {
  const path = scratch(t)
  makeImage(path('a-web.img'), 16)
  const source = serve(t, path, 'a', 'web')
  await source.event('serving')
  const { code, stderr } = await run(t, 'receive', '--control', path('a.control'), '--listen', '127.0.0.1:0')
  t.equal(code, 1)
  t.match(stderr, /^blockferry: REFUSED: web is owned here\n/)
  t.ok(qemuIo(nbdUri('web', path('a.nbd')), 'write -P 1 0 4096'), 'it is served as before')
})
