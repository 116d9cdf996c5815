// What a machine offers: an echo service (port 7) and a large file at any speed (port 80), whose
// every byte a client can predict. Also takes uploads (POST) and says how many bytes came.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { largeFile, noise } from '../../guests/content.js'

const kPart = 2 ** 16

createTcpServer((socket) => {
  socket.on('error', () => {})
  socket.setNoDelay(true)
  socket.pipe(socket)
}).listen(7, '::')

createServer(async (request, response) => {
  const url = new URL(request.url!, 'http://machine/')
  if (request.method === 'POST') {
    let bytes = 0
    for await (const part of request) bytes += (part as Buffer).length
    response.end(String(bytes))
    return
  }
  if (!url.pathname.endsWith(largeFile)) {
    response.end('here\n')
    return
  }
  const total = Number(url.searchParams.get('bytes') ?? 2 ** 24)
  const rate = Number(url.searchParams.get('rate') ?? Infinity)
  response.writeHead(200, { 'content-length': total })
  response.on('error', () => {})
  for (let at = 0; at < total && !response.destroyed; at += kPart) {
    const goesOn = response.write(noise(at, Math.min(kPart, total - at)))
    if (!goesOn) await once(response, 'drain').catch(() => {})
    if (rate !== Infinity) await sleep(kPart / rate * 1000)
  }
  response.end()
}).listen(80, '::', () => process.stdout.write('ready\n'))
