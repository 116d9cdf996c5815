// What a fresh clone needs before it can be built and tested: system packages and node_modules.
// Does nothing, quickly, when all of it is there.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { missingPackages } from './packages.mjs'
import { Failure, hasCommand, isMain, main, root, run } from './support.mjs'

/** Sets up for these purposes: 'build', 'test', 'bench'. Throws Failure if it can't be built. */
export function setUp (purposes) {
  installSystemPackages(purposes)
  if (!isInstalledAsLocked()) installNodeModules()
}

function installSystemPackages (purposes) {
  const missing = missingPackages(purposes)
  if (missing.length === 0) return
  if (process.getuid() === 0 && hasCommand('apt-get')) tryToInstall(missing)
  const stillMissing = missingPackages(purposes)
  if (stillMissing.length === 0) return
  console.error('blockferry: system packages are missing; this installs them:')
  console.error(`  sudo apt-get install --no-install-recommends ${stillMissing.join(' ')}`)
  if (missingPackages(['build']).length > 0) {
    throw new Failure('without them blockferry cannot be built')
  }
}

function tryToInstall (names) {
  console.log(`blockferry: installing ${names.join(' ')}`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  try {
    run('apt-get', ['-qq', 'update'], { env })
    run('apt-get', ['-qq', 'install', '--yes', '--no-install-recommends', ...names], {
      env,
      quiet: true
    })
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(`blockferry: ${error.message}`)
  }
}

// npm leaves a list of what it installed inside node_modules: it has to agree with the lock file.
function isInstalledAsLocked () {
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
  const locked = readPackages(join(root, 'package-lock.json'))
  if (!locked) throw new Failure('package-lock.json is missing or broken')
  if (!installed) return false
  return Object.entries(locked).every(([path, { version, optional, peer }]) => {
    return path === '' || optional || peer || installed[path]?.version === version
  })
}

function readPackages (lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, 'utf8')).packages
  } catch {
    return undefined
  }
}

function installNodeModules () {
  console.log('blockferry: npm ci')
  run('npm', ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'])
}

if (isMain(import.meta.url)) {
  await main(() => setUp(process.argv.length > 2 ? process.argv.slice(2) : ['build', 'test']))
}
