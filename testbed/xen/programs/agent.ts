// In dom0: runs a line of shell for each connection, as root. The connection brings the command, as
// text up to a NUL, and takes its output; what follows a last NUL is its exit code. A connection that
// is closed before kills the command and what it has started.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

import { kAgentPort } from '../agent-port.js'

createServer(serve).listen(kAgentPort)

/** For the rest of its output, when programs that outlive it hold that open. */
const kRestMs = 300

function serve (socket: Socket): void {
  let command = ''
  const take = (text: string) => {
    command += text
    if (!command.endsWith('\0')) return
    socket.off('data', take)
    execute(socket, command.slice(0, -1))
  }
  socket.setEncoding('utf8')
  socket.on('data', take)
  socket.on('error', () => {})
}

function execute (socket: Socket, command: string): void {
  const child = spawn('sh', ['-c', `exec 2>&1\n${command}`], { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch {} // all of it has ended
  }
  socket.on('close', kill)
  socket.resume()
  child.stdout.pipe(socket, { end: false })
  child.on('exit', (code, signal) => {
    socket.off('close', kill)
    void Promise.race([once(child, 'close'), sleep(kRestMs)]).then(() =>
      socket.end(`\0${signal === null ? code : 128 + constants.signals[signal]}`))
  })
}
