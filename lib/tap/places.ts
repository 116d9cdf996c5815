// Where a disk's bytes really lie: names that two hosts, or two processes, have in common when it is the
// same storage, each with the range there. What lies below a partition, a loop device or a multipath device
// is named, too. Nothing is written, and that two disks have no name in common proves nothing.
import type { BigIntStats } from 'node:fs'
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { deviceNumber } from '../base/device-number.js'

/** Bytes. */
export interface Place { name: string, start: number, length: number }

/** Of a device's folder in sysfs, what its maker or its administrator has named it by. Not its `serial`: it
 * may be the same for every disk of that name on every host. */
const kIdentities = ['wwid', 'device/wwid', 'dm/uuid', 'md/uuid']
/** Of an image in Ceph, all of these together. */
const kCeph = ['device/cluster_fsid', 'device/pool_id', 'device/image_id']
/** File systems whose source names the server. */
const kServed = ['nfs', 'nfs4', 'cifs', 'smb3', 'ceph', 'lustre', 'fuse.glusterfs']
/** A loop device over a file on a loop device, and so on. */
const kMaxDepth = 8

/** Of a file or a device; none when it is not there, or neither. */
export async function placesOf (path: string, depth = 0): Promise<Place[]> {
  const info = await stat(path, { bigint: true }).catch(() => null)
  if (info === null || depth > kMaxDepth) return []
  if (info.isBlockDevice()) return await placesOfDevice(deviceNumber(Number(info.rdev)), depth)
  return info.isFile() ? await placesOfFile(info, depth) : []
}

/** A name of storage that both lie on, in the same range; null when there is none. */
export function commonPlace (ours: readonly Place[], theirs: readonly Place[]): string | null {
  const common = ours.find((our) => theirs.some(({ name, start, length }) => (
    name === our.name && start < our.start + our.length && our.start < start + length)))
  return common?.name ?? null
}

async function placesOfFile (info: BigIntStats, depth: number): Promise<Place[]> {
  const device = deviceNumber(Number(info.dev))
  const below = await placesOfDevice(device, depth + 1)
  const systems = [
    `boot ${await bootId()} device ${device}`,
    ...below.filter(({ name }) => !name.startsWith('boot ')).map(({ name }) => name),
    ...await servedAt(device)
  ]
  return systems.map((system) => (
    { name: `${system} file ${info.ino} of ${info.birthtimeNs}`, start: 0, length: Number(info.size) }))
}

async function placesOfDevice (number: string, depth: number): Promise<Place[]> {
  const folder = await realpath(`/sys/dev/block/${number}`).catch(() => null)
  if (folder === null) return []
  const length = 512 * Number(await read(join(folder, 'size')))
  const isPart = await read(join(folder, 'partition')) !== ''
  const start = isPart ? 512 * Number(await read(join(folder, 'start'))) : 0
  const disk = isPart ? dirname(folder) : folder
  const names = await namesOf(disk)
  const below = await placesBelow(disk, depth)
  return [
    ...names.map((name) => ({ name, start, length })),
    ...below.map((place) => ({ ...place, start: place.start + start, length }))
  ]
}

/** Of a whole disk, by its folder in sysfs. */
export async function namesOf (disk: string): Promise<string[]> {
  const size = await read(join(disk, 'size'))
  const here = `boot ${await bootId()} disk ${await read(join(disk, 'dev'))} ${await read(join(disk, 'diskseq'))}`
  const known = await Promise.all(kIdentities.map((file) => read(join(disk, file))))
  const ceph = await Promise.all(kCeph.map((file) => read(join(disk, file))))
  const names = [...new Set(known), ceph.includes('') ? '' : `rbd ${ceph.join(' ')}`]
  // Disks of ATA hang on one host, and emulated ones are all called the same.
  return [here, ...names.filter((name) => name !== '' && !name.startsWith('t10.ATA')).map((name) => `${name} (${size})`)]
}

async function placesBelow (disk: string, depth: number): Promise<Place[]> {
  const file = await read(join(disk, 'loop/backing_file'))
  if (file !== '') {
    const offset = Number(await read(join(disk, 'loop/offset')))
    return (await placesOf(file, depth + 1)).map((place) => ({ ...place, start: place.start + offset }))
  }
  const isMultipath = (await read(join(disk, 'dm/uuid'))).startsWith('mpath-')
  const paths = isMultipath ? await readdir(join(disk, 'slaves')).catch(() => []) : []
  const numbers = await Promise.all(paths.map((name) => read(join(disk, 'slaves', name, 'dev'))))
  return (await Promise.all(numbers.map((number) => placesOfDevice(number, depth + 1)))).flat()
}

/** The server and its folder that a file system with this number comes from. */
async function servedAt (number: string): Promise<string[]> {
  const mounts = (await read('/proc/self/mountinfo')).split('\n').map((line) => line.split(' '))
  return mounts.flatMap((words) => {
    const [type = '', source = ''] = words.slice(words.indexOf('-') + 1)
    return words[2] === number && kServed.includes(type) ? [`${type} ${source}`] : []
  }).slice(0, 1)
}

async function bootId (): Promise<string> {
  return await read('/proc/sys/kernel/random/boot_id')
}

async function read (path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim()
}
