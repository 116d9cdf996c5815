// nbdcopy to two NBD servers.

import { type Copier, type CopyJob, measureCopy } from '../support/copying.js'
import { freePort, whenListening } from '../support/network.js'
import { MeasuredProcess } from '../support/process.js'
import { keyIdentity } from '../support/psk.js'
import { nbdkit, nbdkitOverTls, qemuNbd, type ServerAddress } from './servers.js'

type Server = (address: ServerAddress, disk: string) => string[]

function nbdcopyTo (name: string, server: Server, options: readonly string[] = []): Copier {
  return { name, copy: (job) => copy(job, server, options, (port) => `nbd://127.0.0.1:${port}`) }
}

async function copy (
  job: CopyJob,
  server: Server,
  options: readonly string[],
  uri: (port: number) => string
) {
  const port = await freePort()
  const command = server({ host: '127.0.0.1', port }, job.destination)
  const receiver = await MeasuredProcess.start(command, job.namespace)
  await whenListening(port, job.namespace)
  const nbdcopy = ['nbdcopy', '--flush', ...options, job.source, uri(port)]
  return measureCopy(job, receiver, async () => {
    return (await MeasuredProcess.start(nbdcopy, job.namespace)).succeed()
  })
}

export const nbdcopyPeers: readonly Copier[] = [
  nbdcopyTo('nbdcopy-nbdkit', nbdkit),
  nbdcopyTo('nbdcopy-nbdkit-zero', nbdkit, ['--destination-is-zero']),
  nbdcopyTo('nbdcopy-qemu-nbd', qemuNbd),
  nbdcopyTo('nbdcopy-qemu-nbd-zero', qemuNbd, ['--destination-is-zero'])
]

/** To nbdkit over TLS with the pre-shared key in this file. */
export function nbdcopyOverTls (keyFile: string): readonly Copier[] {
  const uri = (port: number) => `nbds://${keyIdentity}@127.0.0.1:${port}?tls-psk-file=${keyFile}`
  const server = nbdkitOverTls(keyFile)
  const zero = ['--destination-is-zero']
  return [
    { name: 'nbdcopy-nbdkit-tls', copy: (job) => copy(job, server, [], uri) },
    { name: 'nbdcopy-nbdkit-tls-zero', copy: (job) => copy(job, server, zero, uri) }
  ]
}
