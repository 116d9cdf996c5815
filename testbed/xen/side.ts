// Runs programs/side.ts in a dom0.
import { setTimeout as sleep } from 'node:timers/promises'

import type { SideOptions } from './programs/side.js'
import type { XenHost } from './xen-host.js'

export type Said = Record<string, any>

export function startSide (host: XenHost, role: 'source' | 'destination', options: SideOptions) {
  const running = host.start(host.program('testbed/xen/programs/side', role, JSON.stringify(options)))
  let isOver = false
  const ended = running.ended.finally(() => { isOver = true })
  ended.catch(() => {}) // who waits hears of it
  const said = (): Said[] => running.output.split('\n').flatMap((line) => line.startsWith('{') ? [JSON.parse(line)] : [])
  /** The first line with this word. */
  const until = async (word: string): Promise<Said> => {
    for (;;) {
      const found = said().find((line) => word in line)
      if (found !== undefined) return found
      if (isOver) throw new Error(`it has ended: ${running.output}`)
      await sleep(100)
    }
  }
  return { ended, said, until, kill: () => running.kill(), output: () => running.output }
}

/** Both sides of a move. */
export async function startMove (from: XenHost, to: XenHost, options: Omit<SideOptions, 'host'>) {
  const destination = startSide(to, 'destination', { ...options, host: to.address })
  const { port } = await destination.until('port')
  return { destination, source: startSide(from, 'source', { ...options, host: to.address, port }) }
}
