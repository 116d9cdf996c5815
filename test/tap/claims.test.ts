// One tap a device, whoever else is on the host.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import type { Test } from 'tap'
import t from 'tap'

import { openTap } from '../../lib/index.js'
import { deviceNumber } from '../../lib/base/device-number.js'
import { emptyDevice, kNeedsBpf } from '../support/bpf.js'
import { failedOpen } from '../support/failed-open.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { statSync } from 'node:fs'

const kLibrary = new URL('../../lib/index.js', import.meta.url).href

/** A program that opens a tap and prints how that went; it lives until its input ends. */
function opening (device: string): string[] {
  const program = `
    const { openTap } = await import(${JSON.stringify(kLibrary)})
    await openTap({ source: ${JSON.stringify(device)}, tap: 'bpf' }).then(
      () => console.log('open'), ({ code, message }) => console.log(code, message))
    process.stdin.on('end', () => process.exit()).resume()`
  return [process.execPath, '--input-type=module', '--eval', program]
}

/** Runs until the test is over; its first words. */
async function firstWords (t: Test, command: string[]): Promise<string> {
  const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.stdin.end()
    await ended
  })
  return String((await once(child.stdout, 'data'))[0]).trim()
}

t.test('a tap that nobody keeps', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const source = makeImage(join(temporary(t), 'disk.img'), 1 << 20, 1)
  await (async () => { await openTap({ source }) })()
  for (let i = 0; i < 5; i++) {
    await setImmediate()
    collect()
  }
  t.match(await failedOpen({ source }), { code: 'BUSY' }, 'it is open until it is closed')
})

t.test('a process in another network namespace', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  t.equal(await firstWords(t, ['unshare', '--net', ...opening(device)]), 'open')
  t.match(await failedOpen({ source: device, tap: 'bpf' }), { code: 'BUSY', message: /has a tap already/ })
})

t.test('another user', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  const number = deviceNumber(statSync(device).rdev)
  const squat = `
    import os, socket, sys
    os.setuid(65534)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind('\\0blockferry-tap-${number}')
    try:
        open('/run/blockferry/devices')
    except PermissionError:
        print('squats', flush=True)
    sys.stdin.read()`.replace(/^ {4}/gm, '')
  await (await openTap({ source: device, tap: 'bpf' })).close() // the file is there
  t.equal(await firstWords(t, ['python3', '-c', squat]), 'squats')
  await using tap = await openTap({ source: device, tap: 'bpf' })
  t.equal(tap.state, 'open')
})

t.test('where other users could hold claims', { skip: kNeedsBpf }, async (t) => {
  const device = emptyDevice(t, temporary(t), 4)
  const answers = ['mkdir -m 777 /run/blockferry', 'mkdir /run/elsewhere; ln -s /run/elsewhere /run/blockferry',
    'mkdir /run/blockferry; touch /run/blockferry/devices',
    'mkdir /run/blockferry; ln -s /run/elsewhere /run/blockferry/devices']
    .map((how) => execFileSync('unshare', ['--mount', 'sh', '-c',
      `mount -t tmpfs tmpfs /run; ${how}; exec "$@"`, 'sh', ...opening(device)],
    { encoding: 'utf8', input: '' }).split(' ')[0])
  t.same(answers, ['NO_PERMISSION', 'NOT_FOUND', 'NO_PERMISSION', 'IO_ERROR'])
})
