// QEMU's blockdev-mirror: a qemu-storage-daemon that holds the disk copies it to a qemu-nbd.

import { join } from 'node:path'
import { type Copier, type CopyJob, measureCopy } from '../support/copying.js'
import { freePort, whenListening } from '../support/network.js'
import { MeasuredProcess, type Usage } from '../support/process.js'
import { Qmp } from '../../testbed/support/qmp.js'
import { qemuNbd } from './servers.js'

/** The arguments of blockdev-mirror that are not ours to fill in. */
export interface MirrorOptions {
  /** Bytes per bit of its dirty map; QEMU's default is 64 KiB. */
  readonly granularity?: number
  readonly 'copy-mode'?: 'background' | 'write-blocking'
}

/** A qemu-storage-daemon with one raw disk, the node `disk`. */
export class StorageDaemon {
  readonly process: MeasuredProcess
  readonly qmp: Qmp

  static async start (
    disk: string,
    folder: string,
    namespace: string | undefined,
    exported: readonly string[] = []
  ): Promise<StorageDaemon> {
    const socket = join(folder, `qmp-${process.hrtime.bigint()}`)
    const command = [
      'qemu-storage-daemon',
      ...['--chardev', `socket,id=qmp,path=${socket},server=on,wait=off`],
      ...['--monitor', 'chardev=qmp'],
      ...['--blockdev', `file,node-name=file,filename=${disk},discard=unmap`],
      ...['--blockdev', 'raw,node-name=disk,file=file,discard=unmap'],
      ...exported
    ]
    const daemon = await MeasuredProcess.start(command, namespace)
    return new StorageDaemon(daemon, await Qmp.connect(socket))
  }

  private constructor (daemon: MeasuredProcess, qmp: Qmp) {
    this.process = daemon
    this.qmp = qmp
  }

  /** Starts to mirror the disk to an NBD server's default export. */
  async mirrorTo (host: string, port: number, options: MirrorOptions = {}): Promise<void> {
    const server = { type: 'inet', host, port: String(port) }
    const target = { driver: 'nbd', 'node-name': 'nbd', server }
    await this.qmp.execute('blockdev-add', { ...target, discard: 'unmap' })
    await this.qmp.execute('blockdev-mirror', {
      'job-id': 'mirror',
      device: 'disk',
      target: 'nbd',
      sync: 'full',
      ...options
    })
  }

  /** Whether everything was copied at some moment before the time was up. */
  async isReady (timeoutMs: number): Promise<boolean> {
    const ended = ['BLOCK_JOB_READY', 'BLOCK_JOB_COMPLETED']
    const event = await this.qmp.event(ended, timeoutMs)
    if (event?.event === 'BLOCK_JOB_COMPLETED') throw jobError(event.data)
    return event !== undefined
  }

  /** Ends a mirror that is ready: it copies what is dirty and lets go of the destination. */
  async finishMirror (timeoutMs: number): Promise<void> {
    await this.qmp.execute('block-job-cancel', { device: 'mirror' })
    const event = await this.qmp.event(['BLOCK_JOB_CANCELLED', 'BLOCK_JOB_COMPLETED'], timeoutMs)
    if (event === undefined) throw new Error('the mirror job did not end')
    if (event.data['error'] !== undefined) throw jobError(event.data)
    await this.qmp.execute('blockdev-del', { 'node-name': 'nbd' })
  }

  async stop (): Promise<Usage> {
    this.qmp.close()
    return this.process.stop()
  }
}

function jobError (data: Record<string, unknown>): Error {
  return new Error(`blockdev-mirror: ${String(data['error'] ?? 'it ended early')}`)
}

async function copy (job: CopyJob) {
  const port = await freePort()
  const command = qemuNbd({ host: '127.0.0.1', port }, job.destination)
  const receiver = await MeasuredProcess.start(command, job.namespace)
  await whenListening(port, job.namespace)
  return measureCopy(job, receiver, async () => {
    const daemon = await StorageDaemon.start(job.source, job.folder, job.namespace)
    try {
      await daemon.mirrorTo('127.0.0.1', port)
      if (!(await daemon.isReady(600_000))) throw new Error('the mirror was not ready in 600 s')
      await daemon.finishMirror(60_000)
    } finally {
      await daemon.stop()
    }
    return daemon.stop()
  })
}

export const mirrorPeer: Copier = { name: 'blockdev-mirror', copy }
