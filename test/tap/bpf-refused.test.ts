// What a bpf tap can't be attached to, and what is left of one: typed errors, and nothing.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { openTap, probe } from '../../lib/index.js'
import { jsonLines, run } from '../cli/cli-process.js'
import { emptyDevice, kNeedsBpf } from '../support/bpf.js'
import { failedOpen } from '../support/failed-open.js'
import { temporary } from '../../testbed/support/images.js'
import { keepStatistics } from '../support/root.js'

const kLibrary = new URL('../../lib/index.js', import.meta.url).href

t.test('no such device, and none at all', async (t) => {
  const file = join(temporary(t), 'image')
  writeFileSync(file, Buffer.alloc(4096))
  t.match(await failedOpen({ source: '/dev/nonexistent', tap: 'bpf' }), { code: 'NOT_FOUND' })
  t.match(await failedOpen({ source: file, tap: 'bpf' }), { code: 'UNSUPPORTED', message: /not a block device/ })
  t.match(await failedOpen({ source: '/dev/null', tap: 'bpf' }), { code: 'UNSUPPORTED' })
})

t.test('options that make no sense', async (t) => {
  t.match(await failedOpen({ source: { memory: 4096 }, tap: 'bpf' }), { code: 'INVALID' })
  t.match(await failedOpen({ source: '/dev/x', tap: 'bpf', readOnly: true }), { code: 'INVALID', message: /readOnly/ })
  t.match(await failedOpen({ source: '/dev/x', tap: 'era' as 'bpf' }), { code: 'INVALID' })
})

t.test('a read-only device', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  execFileSync('blockdev', ['--setro', device])
  t.teardown(() => execFileSync('blockdev', ['--setrw', device])) // the kernel does not forget it
  t.match(await failedOpen({ source: device, tap: 'bpf' }), { code: 'READ_ONLY' })
})

t.test('two taps on one device', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  await using first = await openTap({ source: device, tap: 'bpf' })
  t.match(await failedOpen({ source: first.source, tap: 'bpf' }), { code: 'BUSY' })
})

t.test('a device without statistics', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  keepStatistics(device, false)
  t.teardown(() => keepStatistics(device, true))
  t.match(await failedOpen({ source: device, tap: 'bpf' }), { code: 'UNSUPPORTED', message: /iostats/ })
})

t.test('without privileges', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  const program = `
    const { openTap } = await import(${JSON.stringify(kLibrary)})
    process.setgroups([])
    process.setuid(65534)
    await openTap({ source: ${JSON.stringify(device)}, tap: 'bpf' }).then(
      () => console.log('opened'), ({ code }) => console.log(code))`
  const args = ['--input-type=module', '--eval', program]
  const output = execFileSync(process.execPath, args, { encoding: 'utf8' })
  t.equal(output.trim(), 'NO_PERMISSION')
})

t.test('nothing is left of a process that is killed', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  const program = `
    const { openTap } = await import(${JSON.stringify(kLibrary)})
    const tap = await openTap({ source: ${JSON.stringify(device)}, tap: 'bpf' })
    tap.track()
    console.log('open')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program])
  await once(child.stdout, 'data')
  t.match(await failedOpen({ source: device, tap: 'bpf' }), { code: 'BUSY' })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const tap = await openTap({ source: device, tap: 'bpf' })
  await tap.close()
})

t.test('probe', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const file = join(dir, 'image')
  writeFileSync(file, Buffer.alloc(4096))
  t.match(await probe(emptyDevice(t, dir, 4)), {
    auto: 'bpf',
    taps: [
      { tap: 'bpf', possible: true },
      { tap: 'dm', possible: false, code: 'UNSUPPORTED' },
      { tap: 'nbd', possible: true, live: false }
    ]
  })
  t.match(await probe(file), {
    auto: null, taps: [{ tap: 'bpf', possible: false, code: 'UNSUPPORTED' }, { tap: 'dm', possible: false }, {}]
  })
  await t.rejects(probe('/dev/nonexistent'), { code: 'NOT_FOUND' })
})

t.test('blockferry probe', { skip: kNeedsBpf }, async (t) => {
  const dir = temporary(t)
  const file = join(dir, 'image')
  writeFileSync(file, Buffer.alloc(4096))
  const device = emptyDevice(t, dir, 4)
  const good = await run(t, 'probe', device)
  t.equal(good.code, 0)
  t.match(good.stdout, `${device}: auto takes bpf\n  bpf: yes, `)
  const bad = await run(t, 'probe', file)
  t.equal(bad.code, 1)
  t.match(bad.stdout, /no tap can be attached to it as it is\n {2}bpf: no, .* is not a block device\n {2}dm: no, .*\n {2}nbd: yes/)
  const missing = await run(t, 'probe', '/dev/nonexistent', '--json')
  t.equal(missing.code, 1)
  t.match(jsonLines(missing.stdout), [{ event: 'failed', error: { code: 'NOT_FOUND' } }])
})

t.test('nothing leaks', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  const descriptors = async () => {
    const tap = await openTap({ source: device, tap: 'bpf' })
    tap.track()
    await tap.close()
    return readdirSync('/proc/self/fd').length
  }
  const first = await descriptors()
  for (let i = 0; i < 20; i++) await descriptors()
  t.equal(await descriptors(), first)
})
