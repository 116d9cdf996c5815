// A receiver in a process of its own, which can be killed or stopped.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

import type { Test } from 'tap'

const kLibrary = new URL('../../lib/index.js', import.meta.url).href
const kProgram = `
  import { receive } from ${JSON.stringify(kLibrary)}
  const [target, ...journal] = process.argv.slice(1)
  const receiver = await receive({
    disks: [{ destination: target, name: 'web' }], ...(journal.length > 0 && { journal: journal[0] })
  })
  receiver.on('committed', () => console.log('committed'))
  receiver.on('failed', ({ error }) => console.log(error.code))
  console.log(JSON.stringify(receiver.address))`

export interface ReceiverProcess {
  child: ChildProcess
  address: { host: string, port: number }
  /** What it decided: 'committed', it owns the disk, or the code of its error. */
  outcome: Promise<string>
}

/** It ends with the test, if not before. */
export async function receiverProcess (
  t: Test, target: string, ...journal: string[]
): Promise<ReceiverProcess> {
  const args = ['--input-type=module', '-e', kProgram, target, ...journal]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' }
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const lines = createInterface(child.stdout)
  let decide!: (outcome: string) => void
  const outcome = new Promise<string>((resolve) => { decide = resolve })
  const address = await new Promise<ReceiverProcess['address']>((resolve) => {
    lines.on('line', (line) => line.startsWith('{') ? resolve(JSON.parse(line)) : decide(line))
  })
  return { child, address, outcome }
}
