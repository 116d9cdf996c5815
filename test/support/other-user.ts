// A process of another user's, who may do no more than anybody who can log in.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import type { Test } from 'tap'

const kNobody = 65534

/** Runs a program of Node's own modules as nobody; answers what it prints, line by line. Ends with the test. */
export function asNobody (t: Test, program: string): { line: () => Promise<string> } {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    uid: kNobody, gid: kNobody, cwd: '/', stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return { line: async () => (await lines.next()).value }
}

/** Connects, and prints what comes until the other side hangs up. */
export function connecting (port: number): string {
  return `import { connect } from 'node:net'
    let heard = ''
    const socket = connect(${port}, '127.0.0.1')
    socket.on('data', (data) => { heard += data.toString('latin1') }).on('error', () => {})
    socket.on('close', () => console.log(JSON.stringify(heard)))`
}

/** Listens, prints its port, and passes all that comes to another. */
export function passing (port: number): string {
  return `import { connect, createServer } from 'node:net'
    const server = createServer((from) => {
      const to = connect(${port}, '127.0.0.1')
      for (const [one, other] of [[from, to], [to, from]]) one.pipe(other).on('error', () => one.destroy())
    })
    server.listen(0, '127.0.0.1', () => console.log(server.address().port))`
}
