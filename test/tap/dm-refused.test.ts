// What a dm tap is told on a host whose kernel may have no device-mapper. Where it has one: test/lab/.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { leftoverTaps, migrate, probe, removeLeftoverTap } from '../../lib/index.js'
import { jsonLines, run } from '../cli/cli-process.js'
import { emptyDevice } from '../support/bpf.js'
import { failedOpen } from '../support/failed-open.js'
import { temporary } from '../../testbed/support/images.js'
import { kNeedsRoot } from '../support/root.js'

t.test('no such device, and none at all', async (t) => {
  const file = join(temporary(t), 'image')
  writeFileSync(file, Buffer.alloc(4096))
  t.match(await failedOpen({ source: '/dev/nonexistent', tap: 'dm' }), { code: 'NOT_FOUND' })
  t.match(await failedOpen({ source: file, tap: 'dm' }), { code: 'UNSUPPORTED', message: /not a block device/ })
  t.match(await failedOpen({ source: '/dev/null', tap: 'dm' }), { code: 'UNSUPPORTED' })
})

t.test('options that make no sense', async (t) => {
  t.match(await failedOpen({ source: { memory: 4096 }, tap: 'dm' }), { code: 'INVALID' })
  t.match(await failedOpen({ source: '/dev/x', tap: 'dm', readOnly: true }), { code: 'INVALID', message: /readOnly/ })
  t.match(await failedOpen({ source: '/dev/x', tap: 'dm', metadata: 1 as unknown as string }), { code: 'INVALID' })
  t.match(await failedOpen({ source: '/dev/x', metadata: '/tmp' }), { code: 'INVALID', message: /metadata/ })
  t.match(await failedOpen({ source: '/dev/x', tap: 'bpf', metadata: '/tmp' }), { code: 'INVALID', message: /metadata/ })
})

t.test('a device of another kind', { skip: kNeedsRoot }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  t.match(await failedOpen({ source: device, tap: 'dm' }), {
    code: 'UNSUPPORTED', message: /no device of device-mapper/
  })
  const { taps } = await probe(device)
  t.match(taps.find(({ tap }) => tap === 'dm'), { possible: false, live: true, code: 'UNSUPPORTED' })
  const disks = [{ source: device, tap: 'auto' as const }]
  await t.rejects(migrate({ disks, destination: '127.0.0.1:1' }), {
    code: 'UNSUPPORTED', message: /bpf would need a machine/
  })
})

t.test('nothing is left where there never was anything', async (t) => {
  t.same(await leftoverTaps(), [])
  await t.rejects(removeLeftoverTap(''), { code: 'INVALID' })
  const { code, stdout } = await run(t, 'status', '--json')
  t.equal(code, 0)
  t.match(jsonLines(stdout), [{ event: 'status', taps: [] }])
})
