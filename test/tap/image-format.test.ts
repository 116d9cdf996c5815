// Images in another format than raw: they are not taken for disks, unless by force.
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import t from 'tap'

import { migrate, openTap, receive } from '../../lib/index.js'
import { run } from '../cli/cli-process.js'
import { failedOpen } from '../support/failed-open.js'
import { makeImage, temporary } from '../../testbed/support/images.js'
import { kNeedsRoot, loopDevice } from '../support/root.js'

const kSize = 4 << 20

t.test('what qemu-img makes', async (t) => {
  const dir = temporary(t)
  const formats = [
    ['qcow2', 'qcow2'], ['qcow2', 'qcow2', 'compat=0.10'], ['qed', 'QED'], ['vmdk', 'VMDK'], ['vdi', 'VDI'],
    ['vhdx', 'VHDX'], ['vpc', 'VHD'], ['vpc', 'VHD', 'subformat=fixed'], ['parallels', 'Parallels']
  ] as const
  for (const [format, name, options] of formats) {
    const source = join(dir, `image.${format}`)
    const more = options === undefined ? [] : ['-o', options]
    execFileSync('qemu-img', ['create', '-q', '-f', format, ...more, source, '4M'])
    truncateUp(source)
    for (const how of [{}, { readOnly: true }, { direct: true }]) {
      const error = { code: 'UNSUPPORTED', message: new RegExp(`looks like a ${name} image.*qemu-img convert`) }
      t.match(await failedOpen({ source, ...how }), error, `${format} ${options ?? ''}`)
    }
    await (await openTap({ source, force: true })).close()
  }
})

/** To sectors that every file system takes for direct I/O; one that ends with a word of its own does so already. */
function truncateUp (path: string): void {
  const { size } = statSync(path)
  const isFixed = readFileSync(path).subarray(-512).toString('latin1').startsWith('conectix')
  if (!isFixed) truncateSync(path, Math.ceil(size / 4096) * 4096)
}

t.test('others, by their first word', async (t) => {
  const source = join(temporary(t), 'image')
  for (const word of ['COWD', '# Disk DescriptorFile', 'WithouFreSpacExt']) {
    writeFileSync(source, word)
    truncateSync(source, kSize)
    t.match(await failedOpen({ source }), { code: 'UNSUPPORTED' }, word)
  }
  for (const word of ['QED.', 'QFI', ' KDMV']) {
    writeFileSync(source, word)
    truncateSync(source, kSize)
    await (await openTap({ source })).close()
  }
})

t.test('on a device', { skip: kNeedsRoot }, async (t) => {
  const file = join(temporary(t), 'image')
  writeFileSync(file, 'QFI\xfb', 'latin1')
  truncateSync(file, kSize)
  const source = loopDevice(t, file)
  t.match(await failedOpen({ source }), { code: 'UNSUPPORTED' })
})

t.test('what a guest writes while it is served is its own affair', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'b') }] })
  await using tap = await openTap({ source })
  writeFileSync(source, Buffer.from('QFI\xfb', 'latin1'), { flag: 'r+' })
  t.equal((await migrate({ disks: [{ source: tap }], destination: receiver.address })).equal, true)
  for (const tap of receiver.taps.values()) await tap.close()
})

t.test('the target of a migration', async (t) => {
  const dir = temporary(t)
  const [source, target] = [makeImage(join(dir, 'a'), kSize), join(dir, 'b')]
  execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicSparse', target, '40M'])
  truncateSync(target, kSize)
  const before = readFileSync(target)
  const move = async (force: boolean) => {
    await using receiver = await receive({ disks: [{ destination: target, force }] })
    await migrate({ disks: [{ source }], destination: receiver.address })
    for (const tap of receiver.taps.values()) await tap.close()
  }
  await t.rejects(move(false), { code: 'UNSUPPORTED', owner: 'source', message: /looks like a VMDK image/ })
  t.ok(readFileSync(target).equals(before), 'nothing was written there')
  await move(true)
})

t.test('what has come already is taken on, whatever it looks like', async (t) => {
  const dir = temporary(t)
  const source = makeImage(join(dir, 'a'), kSize)
  writeFileSync(source, Buffer.from('QFI\xfb', 'latin1'), { flag: 'r+' })
  await using receiver = await receive({ disks: [{ destination: join(dir, 'b') }] })
  const first = migrate({
    disks: [{ source, force: true }], destination: receiver.address, switchover: 'manual'
  })
  await new Promise<void>((resolve) => first.on('ready', () => resolve()))
  first.cancel()
  await t.rejects(first, { code: 'CANCELLED' })
  t.equal(readFileSync(join(dir, 'b')).subarray(0, 3).toString(), 'QFI')
  const second = await migrate({ disks: [{ source, force: true }], destination: receiver.address })
  t.equal(second.equal, true)
  for (const tap of receiver.taps.values()) await tap.close()
})

t.test('the command line', async (t) => {
  const dir = temporary(t)
  const image = join(dir, 'image')
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', image, '4M'])
  truncateUp(image)
  await using receiver = await receive({ disks: [{ destination: join(dir, 'target'), name: 'web' }] })
  const send = ['send', '--disk', `web=${image}`, '--to', `127.0.0.1:${receiver.address.port}`]
  const refused = await run(t, ...send)
  t.equal(refused.code, 1)
  t.match(refused.stderr, /^blockferry: UNSUPPORTED: .* looks like a qcow2 image/)
  const serve = await run(t, 'serve', '--disk', `web=${image}`, '--listen', `unix:${join(dir, 's')}`)
  t.match(serve, { code: 1, stderr: /^blockferry: UNSUPPORTED/ })
  const forced = await run(t, ...send, '--force')
  t.equal(forced.code, 0, forced.stderr)
  for (const tap of receiver.taps.values()) await tap.close()
})
