// rsync --inplace to its daemon, whole file (no delta algorithm: the destination holds nothing).

import { writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Copier, type CopyJob, measureCopy } from '../support/copying.js'
import { freePort, whenListening } from '../support/network.js'
import { MeasuredProcess } from '../support/process.js'

function configuration (job: CopyJob): string {
  const owner = process.getuid?.() === 0 ? ['uid = root', 'gid = root'] : []
  const module = ['[disks]', `path = ${dirname(job.destination)}`, 'read only = no']
  return ['use chroot = no', ...owner, ...module, ''].join('\n')
}

async function copy (job: CopyJob) {
  const port = await freePort()
  const file = join(job.folder, 'rsyncd.conf')
  writeFileSync(file, configuration(job))
  const daemon = ['rsync', '--daemon', '--no-detach', `--config=${file}`, '--address=127.0.0.1']
  const receiver = await MeasuredProcess.start([...daemon, `--port=${port}`], job.namespace)
  await whenListening(port, job.namespace)
  const target = `rsync://127.0.0.1:${port}/disks/${basename(job.destination)}`
  const command = ['rsync', '--inplace', '--whole-file', '--ignore-times', job.source, target]
  return measureCopy(job, receiver, async () => {
    return (await MeasuredProcess.start(command, job.namespace)).succeed()
  })
}

export const rsyncPeer: Copier = { name: 'rsync-inplace', copy }
