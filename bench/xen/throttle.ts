// The case `throttle`: how soon a limit holds a guest's writers, whose writes a thread of blkback does.
// One host, one boot.

import { XenGuest } from '../../testbed/xen/guest.js'
import { linearDisk } from '../../testbed/xen/linear-disk.js'
import { XenHost } from '../../testbed/xen/xen-host.js'
import { type CaseReport, type Figures, ours, reportCase } from '../support/figures.js'
import { takeTurns } from '../support/rotation.js'

export const throttle = 'throttle'

export async function measureThrottle (runs: number): Promise<CaseReport> {
  const host = await XenHost.boot()
  try {
    const disk = await linearDisk(host)
    await XenGuest.create(host, { disks: [`phy:${disk}`], pauseMicros: 0 })
    const run = (kind: 'dm' | 'bpf') => () => steps(host, kind, disk)
    const contenders = [
      { name: ours, run: run('dm') },
      { name: `${ours}-bpf`, run: run('bpf') }
    ]
    return reportCase(throttle, await takeTurns(contenders, runs))
  } finally {
    await host.close()
  }
}

async function steps (host: XenHost, kind: 'dm' | 'bpf', disk: string): Promise<Figures> {
  const output = await host.must(host.program('bench/xen/throttle-steps', kind, disk))
  return JSON.parse(output.trim().split('\n').at(-1)!)
}
