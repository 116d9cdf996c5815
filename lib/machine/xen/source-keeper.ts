// A program of its own between `xl migrate` and the migration's socket: xl starts it as its way to
// the destination. xl lets the machine run again when this way breaks, so once the destination may
// have it nothing may break: from then on this waits for a word, however the migration's process ends.
//
//   source-keeper.js MEMORY-SOCKET CONTROL-SOCKET
import { connect } from 'node:net'

import { KeeperControl } from './keeper-control.js'
import type { KeeperCommand } from './keeper-state.js'
import { Expected, kBanner, kFailed, kGo, kMoved, kReady } from './xl-messages.js'

const [memorySocket, controlSocket] = process.argv.slice(2) as [string, string]

const fromPeer = new Expected(kBanner.length + kReady.length)
const go = new Expected(kGo.length)
let isReady = false
let isUndone = false
let bannerLeft = kBanner.length

process.on('SIGINT', () => {}).on('SIGTERM', () => {}).on('SIGHUP', () => {})
const control = await KeeperControl.open(controlSocket, memorySocket, obey)
const peer = connect(memorySocket)
process.stdin.on('data', (bytes: Buffer) => isReady ? takeGo(bytes) : control.count(bytes.length))
process.stdin.pipe(peer, { end: false })
process.stdin.on('end', () => { if (control.state === 'handed-over') void end('lost'); else void end('broken') })
process.stdout.on('error', () => {})
peer.on('data', takeFromPeer)
peer.on('error', () => {}).on('close', () => { if (!isReady) void end('broken') })

function takeFromPeer (bytes: Buffer): void {
  if (isReady) return
  passBanner(bytes)
  const all = fromPeer.take(bytes)
  if (all === null) return
  if (!all.equals(Buffer.concat([kBanner, kReady]))) return void end('broken')
  isReady = true
  process.stdin.unpipe(peer)
  process.stdin.resume()
  process.stdout.write(kReady)
}

/** The banner goes on at once, the rest is held until it is whole. */
function passBanner (bytes: Buffer): void {
  const part = bytes.subarray(0, bannerLeft)
  bannerLeft -= part.length
  if (part.length > 0) process.stdout.write(part)
}

/** It goes no further: the destination has its own word on when it lets the machine run. */
function takeGo (bytes: Buffer): void {
  if (go.take(bytes) === null) return
  control.become('handed-over')
  if (isUndone) void finish(kFailed, 'undone')
}

function obey (command: KeeperCommand): void {
  if (command === 'moved' && control.state === 'handed-over') void finish(kMoved, 'moved')
  if (command !== 'undo') return
  if (!isReady) return void end('broken')
  isUndone = true
  if (control.state === 'handed-over') void finish(kFailed, 'undone')
}

/** Tells xl, which ends when it has done its part. */
async function finish (report: Buffer, state: 'moved' | 'undone'): Promise<void> {
  process.stdin.removeAllListeners('end')
  const ended = new Promise((resolve) => process.stdin.once('end', resolve).once('close', resolve))
  process.stdout.write(report)
  await ended
  await end(state)
}

async function end (state: 'moved' | 'undone' | 'broken' | 'lost'): Promise<void> {
  control.become(state)
  peer.destroy()
  await control.close()
  process.exit(state === 'moved' ? 0 : 1)
}
