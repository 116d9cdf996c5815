// What sits at a monitor's socket and is no QEMU, or one that is stuck.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'

import type { Test } from 'tap'

export interface Command { execute: string, id: number }

/** What is no QEMU at a socket's path; `left`: whoever came has hung up again. */
export async function impostor (
  t: Test, folder: string, serve: (socket: Socket) => void
): Promise<{ path: string, left: Promise<unknown> }> {
  const path = join(folder, 'impostor')
  const sockets = new Set<Socket>()
  let leave!: (value: unknown) => void
  const left = new Promise((resolve) => { leave = resolve })
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}).on('close', leave))
    socket.resume() // or its end is never read
    serve(socket)
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { path, left }
}

export function answer (socket: Socket, { id }: Command, value: unknown): void {
  socket.write(JSON.stringify({ return: value, id }) + '\n')
}

/** Answers the handshake as QEMU does and then says this. */
export function afterHandshake (
  more: (socket: Socket, command: Command) => void
): (socket: Socket) => void {
  return (socket) => {
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\n')
    socket.on('data', (data) => {
      const command: Command = JSON.parse(data.toString())
      if (command.execute === 'qmp_capabilities') answer(socket, command, {})
      else more(socket, command)
    })
  }
}
