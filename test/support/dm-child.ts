// A process with a dm tap, that a test in the lab starts to kill it.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Test } from 'tap'

import { works } from './dm.js'

const kChild = new URL('../lab/programs/dm-child.js', import.meta.url).pathname
/** As the watchdog, and more: emulation is slow. */
const kPatienceMs = 25_000

export interface Child {
  /** Resolves when it has said this. */
  said: (word: string) => Promise<void>
  go: () => void
  signal: (signal: NodeJS.Signals) => void
  ended: Promise<unknown>
  output: () => string
}

export function start (t: Test, device: string, steps: string[], env: Record<string, string> = {}): Child {
  const child = spawn(process.execPath, [kChild, device, ...steps], {
    env: { ...process.env, NODE_OPTIONS: '', ...env }, stdio: ['pipe', 'pipe', 'inherit']
  })
  let output = ''
  child.stdout.on('data', (data) => { output += data })
  child.stdin.on('error', () => {})
  const ended = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  return {
    said: async (word) => {
      while (!output.split('\n').includes(word)) {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended: ${output}`)
        await sleep(20)
      }
    },
    go: () => { child.stdin.write('go\n') },
    signal: (signal) => { child.kill(signal) },
    ended,
    output: () => output
  }
}

/** Waits for the watchdog, which has to act before. */
export async function worksSoon (device: string): Promise<boolean> {
  for (const end = performance.now() + kPatienceMs; performance.now() < end;) {
    if (works(device)) return true
    await sleep(100)
  }
  return false
}

export const noWatchdog = async (): Promise<boolean> => {
  for (let tries = 0; tries < 100; tries++) {
    if (spawnSync('pgrep', ['blockferry-watc']).status !== 0) return true
    await sleep(100)
  }
  return false
}
