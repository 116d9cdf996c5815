// A program of its own around `xl migrate-receive`: from when the machine is there, paused, it waits
// for a word on whether it runs here, however the migration's process ends. xl removes the machine
// when it is not told that it may run.
//
//   destination-keeper.js MEMORY-SOCKET CONTROL-SOCKET
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer } from 'node:net'

import { KeeperControl } from './keeper-control.js'
import type { KeeperCommand } from './keeper-state.js'
import { Expected, isGoodReport, kBanner, kGo, kReady, kReportSize } from './xl-messages.js'

const [memorySocket, controlSocket] = process.argv.slice(2) as [string, string]

process.on('SIGINT', () => {}).on('SIGTERM', () => {}).on('SIGHUP', () => {})
const control = await KeeperControl.open(controlSocket, memorySocket, obey)
const xl = spawn('xl', ['migrate-receive'], { stdio: ['pipe', 'pipe', 'inherit'] })
const fromXl = new Expected(kBanner.length + kReady.length)
const report = new Expected(kReportSize)
let peer: Socket | null = null
let early = Buffer.alloc(0)

const server = createServer((socket) => {
  server.close()
  welcome(socket)
})
server.listen(memorySocket)
xl.on('error', () => void end('broken'))
xl.on('exit', () => {
  if (control.state === 'moving') void end('broken')
  if (control.state === 'arrived') void end('lost') // and its copy with it
})
xl.stdin.on('error', () => {})
xl.stdout.on('data', (bytes: Buffer) => control.state === 'moving' ? toPeer(bytes) : takeReport(bytes))

function welcome (socket: Socket): void {
  peer = socket
  socket.on('error', () => {}).on('close', () => { if (control.state === 'moving') xl.stdin.end() })
  socket.on('data', (bytes: Buffer) => control.count(bytes.length))
  socket.pipe(xl.stdin, { end: false })
  socket.write(early)
}

function toPeer (bytes: Buffer): void {
  if (peer === null) early = Buffer.concat([early, bytes])
  else peer.write(bytes)
  const all = fromXl.take(bytes)
  if (all === null) return
  if (all.equals(Buffer.concat([kBanner, kReady]))) control.become('arrived')
  else xl.stdin.end()
}

function obey (command: KeeperCommand): void {
  if (command === 'go' && control.state === 'arrived') xl.stdin.write(kGo)
  if (command === 'undo') void undo()
}

function takeReport (bytes: Buffer): void {
  const all = report.take(bytes)
  if (all !== null) void end(isGoodReport(all) ? 'running' : 'lost')
}

/** xl ends its own copy. */
async function undo (): Promise<void> {
  xl.removeAllListeners('exit')
  xl.stdout.removeAllListeners('data').resume()
  xl.stdin.end()
  if (xl.exitCode === null && xl.signalCode === null) await once(xl, 'exit')
  await end('undone')
}

async function end (state: 'running' | 'undone' | 'broken' | 'lost'): Promise<void> {
  control.become(state)
  peer?.destroy()
  await control.close()
  process.exit(0)
}
