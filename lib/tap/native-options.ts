// What the addon is told when a tap is opened, checked.
import { BlockferryError } from '../base/errors.js'
import type { NativeTapOptions } from '../native/types.js'
import type { TapOptions } from './options.js'
import { checkBlockSize, checkSize, parseSize } from '../base/units.js'
import { kHoles } from './holes.js'

export function nativeOptions (source: TapOptions['source'], options: TapOptions): NativeTapOptions {
  if (options.tap !== undefined && options.tap !== 'nbd') return watchOptions(options)
  if (options.metadata !== undefined) throw new BlockferryError('INVALID', 'metadata: only of a dm tap')
  if (typeof source === 'string') {
    const { size, readOnly = false, direct = false, createSize = 0, force = false, holes = 'auto' } = options
    if (!kHoles.includes(holes)) throw new BlockferryError('INVALID', "holes: must be 'auto', 'trust' or 'read'")
    return {
      kind: 'file',
      path: source,
      readOnly,
      direct,
      force,
      holes,
      createSize: parseSize('createSize', createSize),
      ...(size !== undefined && { diskSize: checkSize('size', size) }),
      ...mapOptions(options.map)
    }
  }
  if (options.map !== undefined) throw new BlockferryError('INVALID', 'map: only for a file or device')
  if (options.size !== undefined) throw new BlockferryError('INVALID', 'size: only for a file or device')
  if (options.holes !== undefined) throw new BlockferryError('INVALID', 'holes: only of a file')
  const memory = 'memory' in source
  const size = checkSize('source', memory ? source.memory : source.null)
  return { kind: memory ? 'memory' : 'null', size }
}

function mapOptions (map: TapOptions['map']): { map?: string, blockSize?: number } {
  if (map === undefined) return {}
  const { path, blockSize = 4096 } = typeof map === 'string' ? { path: map } : map
  if (typeof path !== 'string' || path === '') throw new BlockferryError('INVALID', 'map: must be a path')
  return { map: path, blockSize: checkBlockSize('map.blockSize', blockSize) }
}

function watchOptions ({ source, tap, ...others }: TapOptions) {
  if (tap !== 'bpf' && tap !== 'dm') throw new BlockferryError('INVALID', "tap: must be 'nbd', 'bpf' or 'dm'")
  if (typeof source !== 'string') throw new BlockferryError('INVALID', `source: a ${tap} tap takes a device`)
  const allowed = ['name', 'cgroup', tap === 'dm' ? 'metadata' : 'map']
  const wrong = Object.keys(others).find((key) => !allowed.includes(key))
  if (wrong !== undefined) throw new BlockferryError('INVALID', `${wrong}: no option of a ${tap} tap`)
  const { metadata = '' } = others
  if (typeof metadata !== 'string') throw new BlockferryError('INVALID', 'metadata: must be a path')
  return { kind: tap, path: source, metadata, ...mapOptions(others.map) }
}
