// The link goes in the very moment of the commit, for good: nobody knows who owns the disk. The
// source lets no write through, says so, and can still be ended.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'

import { commandHandler } from '../../lib/control/commands.js'
import { DiskHost } from '../../lib/control/disk-host.js'
import { ControlServer } from '../../lib/control/server.js'
import { NbdServer } from '../../lib/nbd/server.js'
import { receive } from '../../lib/receive.js'
import { openTap } from '../../lib/tap/open-tap.js'
import { CliProcess, run, scratch } from '../cli/cli-process.js'
import { makeImage, nbdUri } from '../cli/disks.js'
import { Proxy } from '../support/proxy.js'

t.test('the owner is unknown', async (t) => {
  const path = scratch(t)
  makeImage(path('a.img'), 16)
  const receiver = await receive({ disks: [{ name: 'web', destination: path('b.img') }], linkTimeout: '1s' })
  const proxy = await Proxy.to(receiver.address)
  const host = new DiskHost({
    server: new NbdServer(),
    track: false,
    onEvent: (event) => { if (event.event === 'switchover' && event.step === 'commit') proxy.cut() }
  })
  host.add(await openTap({ source: path('a.img'), name: 'web' }))
  await host.listen(`unix:${path('nbd')}`)
  const control = new ControlServer(commandHandler(host))
  await control.listen(path('control'))

  const sending = new CliProcess(t, [
    'send', '--control', path('control'), '--to', `127.0.0.1:${proxy.address.port}`, '--link-timeout', '1s', '--reconnect', '0'
  ])
  const { code, stderr } = await sending.ended
  t.equal(code, 4)
  t.match(stderr, /^blockferry: OWNER_UNKNOWN: /m)
  t.match(stderr, /start neither side before `blockferry status`/)
  t.match((await run(t, 'status', '--control', path('control'))).stdout, /^disk web: 17 MB, on hold: .*owner is unknown/)
  const again = await run(t, 'send', '--control', path('control'), '--to', '127.0.0.1:1', '--json')
  t.equal(again.code, 4)
  t.match(again.stdout, /"code":"REFUSED"/, 'it does not move again')

  const client = spawn('qemu-io', ['-f', 'raw', '-c', 'write -P 1 0 4096', nbdUri('web', path('nbd'))], { stdio: 'ignore' })
  const ended = once(client, 'close')
  while (host.status().clients === 0) await new Promise((resolve) => setImmediate(resolve))
  t.equal(client.exitCode, null, 'its write waits')
  await control.close()
  t.same(await host.close(), [])
  await ended
  await proxy.close()
  await receiver.close()
  for (const tap of receiver.taps.values()) await tap.close()
})
