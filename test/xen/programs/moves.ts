// moves KIND FOLDER DEVICE …: in dom0, the guest's disks move together to files in a folder, on
// loopback. A disk of device-mapper goes on there, under its name, as it would on another host.

import { strict as assert } from 'node:assert'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

import { migrate, receive, removeLeftoverTap } from '../../../lib/index.js'
import { Backend } from '../../../testbed/xen/programs/backend.js'
import { contentOf, differing, dmsetup, guest, run, theArguments, writersDid } from '../../../testbed/xen/programs/guest-disk.js'

const { kind, devices: [folder, ...devices] } = theArguments()
const isMapped = (device: string) => device.startsWith('/dev/mapper/')
const disks = devices.map((source) => {
  const name = basename(source)
  const target = join(folder!, `${name}-by-${kind}.img`)
  return { source, name, target, tap: isMapped(source) ? kind : 'bpf' as const }
})
const backends = devices.map((device) => Backend.of(device))
const receiver = await receive({ disks: disks.map(({ name, target }) => ({ name, destination: target })) })
const report = await migrate({
  disks: disks.map(({ source, name, tap }) => ({ source, name, tap })),
  destination: receiver.address,
  machine: guest,
  budgets: { downtime: '30s' }
})
await receiver.close()
for (const tap of receiver.taps.values()) await tap.close()
console.log(`${report.bytes.sent} bytes sent, ${report.dirty.bytes} dirty, downtime ${JSON.stringify(report.downtime)}`)
assert(report.dirty.bytes > 0, 'there were writes meanwhile')

for (const { source, target, tap } of disks) {
  if (tap === 'dm') await fencedComesBack(source)
  assert.deepEqual(differing(contentOf(source), readFileSync(target)), [], `${source} is as ${target}`)
  if (isMapped(source)) goesOnAt(source, target)
}
guest.resume()
for (const backend of backends) await writersDid(backend, { writes: 20 })

async function fencedComesBack (source: string): Promise<void> {
  assert.match(dmsetup('table', basename(source)), /error/, 'the source refuses writes')
  await removeLeftoverTap(source, { owned: true })
}

function goesOnAt (source: string, target: string): void {
  const loop = run('losetup', '--find', '--show', target)
  dmsetup('reload', basename(source), '--table', `0 ${run('blockdev', '--getsz', source)} linear ${loop} 0`)
  dmsetup('resume', basename(source))
}
