// Peers that break the protocol, on plain sockets: frames are made by hand here.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

export const kHeaderSize = 48

/** A header whose checksum is wrong, as XXH3 is not to be had here: for what is looked at before
 * it, and to be refused for it. */
export function header ({ magic = 'BFRY', version = 1, type = 1, payload = 0 } = {}): Buffer {
  const bytes = Buffer.alloc(kHeaderSize)
  bytes.write(magic, 'latin1')
  bytes[4] = version
  bytes[5] = type
  bytes.writeUInt32LE(payload, 12)
  return bytes
}

/** A connection to a receiver; `answer()` collects what it says until it hangs up. */
export async function dial ({ host, port }: { host: string, port: number }): Promise<{
  socket: Socket
  answer: () => Promise<Buffer>
}> {
  const socket = connect(port, host)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  await once(socket, 'connect')
  return { socket, answer: async () => { await closed; return Buffer.concat(chunks) } }
}

/** A server that treats each connection as it is told. */
export async function pretend (behave: (socket: Socket) => void): Promise<{
  server: Server
  address: { host: string, port: number }
}> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    behave(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port } }
}
