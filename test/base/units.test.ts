import t from 'tap'

import { parseHostPort, parseListen, parseRate, parseSize, parseTime } from '../../lib/base/units.js'

t.test('times', async (t) => {
  t.equal(parseTime('x', '300ms'), 300)
  t.equal(parseTime('x', '1.5s'), 1500)
  t.equal(parseTime('x', '2m'), 120_000)
  t.equal(parseTime('x', '2h'), 7_200_000)
  t.equal(parseTime('x', 12), 12)
  for (const wrong of ['', '5', '-1s', 'ms', '1y', 0, -5, NaN]) {
    t.throws(() => parseTime('budgets.downtime', wrong), { code: 'INVALID', message: /budgets\.downtime/ }, String(wrong))
  }
})

t.test('sizes', async (t) => {
  t.equal(parseSize('x', '4KiB'), 4096)
  t.equal(parseSize('x', '4k'), 4000)
  t.equal(parseSize('x', '1GB'), 1e9)
  t.equal(parseSize('x', '2Ti'), 2 ** 41)
  t.equal(parseSize('x', '512'), 512)
  for (const wrong of ['4 KiBs', 'x', -1, Infinity]) {
    t.throws(() => parseSize('blockSize', wrong), { code: 'INVALID', message: /blockSize/ }, String(wrong))
  }
})

t.test('rates', async (t) => {
  t.equal(parseRate('x', '50Mbit/s'), 6.25e6)
  t.equal(parseRate('x', '6MB/s'), 6e6)
  t.equal(parseRate('x', 1000), 1000)
  for (const wrong of ['50Mbit', '50', '0Mbit/s', 0, NaN]) {
    t.throws(() => parseRate('budgets.bandwidth', wrong), { code: 'INVALID' }, String(wrong))
  }
})

t.test('addresses', async (t) => {
  t.same(parseHostPort('x', 'example.org:1'), { host: 'example.org', port: 1 })
  t.same(parseHostPort('x', '[::1]:10809'), { host: '::1', port: 10809 })
  for (const wrong of ['', 'host', 'host:', 'host:70000', '::1:5', ':5']) {
    t.throws(() => parseHostPort('destination', wrong), { code: 'INVALID' }, wrong)
  }
  t.same(parseListen('x', 'unix:/a/b'), { path: '/a/b' })
  t.same(parseListen('x', 'tcp:127.0.0.1:0'), { host: '127.0.0.1', port: 0 })
  for (const wrong of ['unix:', '/a/b', 'udp:1:2']) {
    t.throws(() => parseListen('listen', wrong), { code: 'INVALID' }, wrong)
  }
})
