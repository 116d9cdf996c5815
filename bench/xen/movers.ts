// Ways to move a guest of Xen with its disk.

import { startMove } from '../../testbed/xen/side.js'
import type { Figures } from '../support/figures.js'
import { domain, type Move, type Moving } from './experiment.js'

const kMostMs = 1_200_000

/** blockferry, in both dom0s. */
export function ours (tap: 'dm' | 'bpf'): Move {
  return async ({ from, to, disk, one }) => {
    const disks = [{ name: domain, path: disk }]
    const { source, destination } = await startMove(from, to, { domain, disks, tap, downtime: one.downtime })
    const { code } = await source.ended
    if (code !== 0) throw new Error(`${source.output()} ${destination.output()}`)
    await destination.until('done')
    const { report } = source.said().find((line) => 'moved' in line)!
    return figuresOf(report)
  }
}

function figuresOf ({ downtimeMs, downtime, rounds, throttle, equal }: Record<string, any>): Figures {
  const phases = Object.entries(downtime).map(([name, value]) => [`downtime-${name}Ms`, value as number])
  return { downtimeMs, ...Object.fromEntries(phases), rounds, throttleMs: throttle.activeMs, equal }
}

/** What one does without a tool: the guest is saved to the other host, then its disk is copied, both by
 * plain TCP; when all is there it goes on. */
export const stopAndCopy: Move = async (moving) => {
  const { to } = moving
  const memory = to.start(`mkfifo /run/memory; ${listen(9001)} > /run/memory & xl restore -p /run/memory`)
  const disk = to.start(`${listen(9002)} | dd of=${moving.disk} bs=1M iflag=fullblock conv=fsync status=none`)
  await to.must('until [ $(busybox netstat -ltn | grep -cE ":900[12] ") = 2 ]; do sleep 0.1; done')
  const began = performance.now()
  await send(moving, 9001, 'mkfifo /run/memory', '/run/memory', `xl save ${domain} /run/memory`)
  await send(moving, 9002, ':', moving.disk, ':')
  for (const { code, output } of await Promise.all([memory.ended, disk.ended])) {
    if (code !== 0) throw new Error(output)
  }
  await to.must(`xl unpause ${domain}`)
  return { downtimeMs: performance.now() - began }
}

const listen = (port: number) => `busybox nc -l -p ${port} < /dev/null`

/** A file to a port of the other host, beside a program that writes it. */
async function send ({ from, to }: Moving, port: number, before: string, path: string, beside: string): Promise<void> {
  const copy = `exec dd if=${path} bs=1M status=none > /dev/tcp/${to.address}/${port}`
  await from.must(`${before}; bash -c '${copy}' & ${beside} && wait $!`, kMostMs)
}
