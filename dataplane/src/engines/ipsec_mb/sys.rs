//! `libIPSec_MB.so.1`, found at run time. The only unsafe code of this engine.
//!
//! The library is loaded once and never unloaded. Its documented entry is a table of functions, `IMB_MGR`, whose layout
//! differs between versions; so the version must be the one whose layout stands here, and the functions found at these
//! offsets must be ones that the library also exports by name.
#![expect(unsafe_code, reason = "functions of a C library")]

use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::OnceLock;
use zeroize::{Zeroize, ZeroizeOnDrop};

const LIBRARY: &str = "libIPSec_MB.so.1";
/// 1.3.0, as Debian 12 has it.
const VERSION: u32 = 0x0001_0300;

/// Offsets in `IMB_MGR` of that version.
mod offset {
    pub const FEATURES: usize = 8;
    pub const GCM128_ENC: usize = 256;
    pub const GCM256_ENC: usize = 272;
    pub const GCM128_DEC: usize = 280;
    pub const GCM256_DEC: usize = 296;
    pub const GCM128_PRE: usize = 448;
    pub const GCM256_PRE: usize = 464;
    pub const CHACHA_INIT: usize = 920;
    pub const CHACHA_ENC_UPDATE: usize = 928;
    pub const CHACHA_DEC_UPDATE: usize = 936;
    pub const CHACHA_FINALIZE: usize = 944;
    pub const END: usize = 952;
}

/// `IMB_FEATURE_SELF_TEST` and `IMB_FEATURE_SELF_TEST_PASS`.
const SELF_TEST: u64 = 1 << 20;
const SELF_TEST_PASS: u64 = 1 << 21;

/// The variants of one function that the library exports, by processor.
const GCM_VARIANTS: [&str; 5] = ["sse", "avx_gen2", "avx_gen4", "avx512", WIDE];
const WIDE: &str = "vaes_avx512";
const CHACHA_VARIANTS: [&str; 5] = ["sse", "avx", "avx2", "avx512", "fma_avx512"];

type GcmPre = unsafe extern "C" fn(key: *const u8, data: *mut KeyData);
type GcmCrypt = unsafe extern "C" fn(
    key: *const KeyData,
    context: *mut GcmContext,
    to: *mut u8,
    from: *const u8,
    len: u64,
    iv: *const u8,
    aad: *const u8,
    aad_len: u64,
    tag: *mut u8,
    tag_len: u64,
);
type ChachaInit = unsafe extern "C" fn(
    key: *const u8,
    context: *mut ChachaContext,
    iv: *const u8,
    aad: *const u8,
    aad_len: u64,
);
type ChachaUpdate =
    unsafe extern "C" fn(key: *const u8, context: *mut ChachaContext, to: *mut u8, from: *const u8, len: u64);
type ChachaFinalize = unsafe extern "C" fn(context: *mut ChachaContext, tag: *mut u8, tag_len: u64);

/// `struct gcm_key_data`: round keys in 15 blocks, then powers of the hash key in 48, 1,008 bytes. In words, so that few
/// stores wipe it.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C)]
struct KeyData([u64; KEY_DATA_LEN / 8]);

const KEY_DATA_LEN: usize = 16 * (ROUND_KEYS + HASH_KEYS);
const ROUND_KEYS: usize = 15;
const HASH_KEYS: usize = 48;

/// `struct gcm_context_data`: 88 bytes. Holds key stream after use.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct GcmContext([u64; 11]);

/// `struct chacha20_poly1305_context_data`: 192 bytes. Holds the one-time key after use.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct ChachaContext([u64; 32]);

impl GcmContext {
    pub const fn new() -> Self {
        Self([0; 11])
    }
}

impl ChachaContext {
    pub const fn new() -> Self {
        Self([0; 32])
    }
}

/// The functions of one key length.
#[derive(Clone, Copy)]
struct Gcm {
    pre: GcmPre,
    encrypt: GcmCrypt,
    decrypt: GcmCrypt,
    /// It has all powers of the hash key, the lowest last. Other variants have fewer, all before byte 512.
    is_wide: bool,
}

#[derive(Clone, Copy)]
struct Chacha {
    init: ChachaInit,
    encrypt: ChachaUpdate,
    decrypt: ChachaUpdate,
    finalize: ChachaFinalize,
}

/// What was found in the library.
pub struct Functions {
    gcm128: Gcm,
    gcm256: Gcm,
    chacha: Chacha,
}

/// Why the library is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Not installed, or for another machine.
    NotFound(String),
    /// `imb_get_version()`: its layout is not known here.
    Version(u32),
    /// It has not what its header promises, or its own self-test failed.
    Unusable(&'static str),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(error) => write!(f, "{error}"),
            Self::Version(v) => {
                write!(f, "{LIBRARY} is version {}.{}.{}, not 1.3.0", v >> 16, v >> 8 & 0xff, v & 0xff)
            }
            Self::Unusable(why) => write!(f, "{LIBRARY}: {why}"),
        }
    }
}

/// Loads the library, once in a process.
pub fn functions() -> Result<&'static Functions, LoadError> {
    static LOADED: OnceLock<Result<Functions, LoadError>> = OnceLock::new();
    LOADED.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Functions, LoadError> {
    // SAFETY: the library's constructors only find out what the processor has.
    let library =
        unsafe { libloading::Library::new(LIBRARY) }.map_err(|e| LoadError::NotFound(e.to_string()))?;
    // SAFETY: exported since 0.55 with this type.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> u32>(b"imb_get_version\0") }
        .map_err(|_| LoadError::Unusable("no imb_get_version"))?;
    // SAFETY: takes nothing and reads a constant.
    let version = unsafe { version() };
    if version != VERSION {
        return Err(LoadError::Version(version));
    }
    let functions = find(&library)?;
    // The functions above are called until the process ends.
    std::mem::forget(library);
    Ok(functions)
}

/// From a manager, made for this purpose and freed again: the functions that are used do not need it.
fn find(library: &libloading::Library) -> Result<Functions, LoadError> {
    const MISSING: LoadError = LoadError::Unusable("a function of version 1.3.0 is missing");
    let missing = |_| MISSING;
    // SAFETY: these five have these types in intel-ipsec-mb.h of this version.
    let (alloc, free, init, size, errno) = unsafe {
        (
            library.get::<unsafe extern "C" fn(u64) -> *mut c_void>(b"alloc_mb_mgr\0").map_err(missing)?,
            library.get::<unsafe extern "C" fn(*mut c_void)>(b"free_mb_mgr\0").map_err(missing)?,
            library
                .get::<unsafe extern "C" fn(*mut c_void, *mut u32)>(b"init_mb_mgr_auto\0")
                .map_err(missing)?,
            library.get::<unsafe extern "C" fn() -> usize>(b"imb_get_mb_mgr_size\0").map_err(missing)?,
            library.get::<unsafe extern "C" fn(*mut c_void) -> i32>(b"imb_get_errno\0").map_err(missing)?,
        )
    };
    // SAFETY: takes nothing and reads a constant.
    if unsafe { size() } < offset::END {
        return Err(LoadError::Unusable("the manager is smaller than version 1.3.0's"));
    }
    // SAFETY: allocates a manager without flags; `NULL` on failure.
    let manager = unsafe { alloc(0) };
    if manager.is_null() {
        return Err(LoadError::Unusable("no memory for a manager"));
    }
    let mut arch = 0;
    // SAFETY: a manager just allocated, and a place for an `IMB_ARCH`, which is an int.
    let failed = unsafe {
        init(manager, &raw mut arch);
        errno(manager) != 0
    };
    let table = Table { library, manager: manager.cast() };
    let found =
        if failed { Err(LoadError::Unusable("this processor is too old for it")) } else { table.read() };
    // SAFETY: allocated above and used no more.
    unsafe { free(manager) };
    found
}

/// An initialised manager.
struct Table<'a> {
    library: &'a libloading::Library,
    manager: *const u8,
}

impl Table<'_> {
    fn read(&self) -> Result<Functions, LoadError> {
        // SAFETY: the manager is larger than `END`, and this field is a 64-bit number.
        let features = unsafe { self.manager.add(offset::FEATURES).cast::<u64>().read_unaligned() };
        if features & SELF_TEST != 0 && features & SELF_TEST_PASS == 0 {
            return Err(LoadError::Unusable("its self-test failed"));
        }
        let gcm = |bits: u32, pre, enc, dec| {
            let pre = self.function(pre, &format!("aes_gcm_pre_{bits}_"), &GCM_VARIANTS)?;
            let enc = self.function(enc, &format!("aes_gcm_enc_{bits}_"), &GCM_VARIANTS)?;
            let dec = self.function(dec, &format!("aes_gcm_dec_{bits}_"), &GCM_VARIANTS)?;
            let is_wide = enc == self.exported(&format!("aes_gcm_enc_{bits}_{WIDE}"));
            // SAFETY: exported functions of these names have these types in version 1.3.0.
            Ok(unsafe {
                Gcm {
                    is_wide,
                    pre: std::mem::transmute::<*const c_void, GcmPre>(pre),
                    encrypt: std::mem::transmute::<*const c_void, GcmCrypt>(enc),
                    decrypt: std::mem::transmute::<*const c_void, GcmCrypt>(dec),
                }
            })
        };
        let gcm128 = gcm(128, offset::GCM128_PRE, offset::GCM128_ENC, offset::GCM128_DEC)?;
        let gcm256 = gcm(256, offset::GCM256_PRE, offset::GCM256_ENC, offset::GCM256_DEC)?;
        let update = |at, prefix: &str| self.function(at, prefix, &CHACHA_VARIANTS);
        let encrypt = update(offset::CHACHA_ENC_UPDATE, "update_enc_chacha20_poly1305_")?;
        let decrypt = update(offset::CHACHA_DEC_UPDATE, "update_dec_chacha20_poly1305_")?;
        let finalize = update(offset::CHACHA_FINALIZE, "finalize_chacha20_poly1305_")?;
        // Not exported by name: it lies between functions that are where they should be.
        let init = self.pointer(offset::CHACHA_INIT);
        if init.is_null() {
            return Err(LoadError::Unusable("a function of the manager is missing"));
        }
        // SAFETY: exported functions of these names, and the one in front of them, have these types in version 1.3.0.
        let chacha = unsafe {
            Chacha {
                init: std::mem::transmute::<*const c_void, ChachaInit>(init),
                encrypt: std::mem::transmute::<*const c_void, ChachaUpdate>(encrypt),
                decrypt: std::mem::transmute::<*const c_void, ChachaUpdate>(decrypt),
                finalize: std::mem::transmute::<*const c_void, ChachaFinalize>(finalize),
            }
        };
        Ok(Functions { gcm128, gcm256, chacha })
    }

    fn pointer(&self, at: usize) -> *const c_void {
        // SAFETY: the manager is larger than `END`, and there are pointers at all offsets given.
        unsafe { self.manager.add(at).cast::<*const c_void>().read_unaligned() }
    }

    /// The exported function of this name; null for none.
    fn exported(&self, name: &str) -> *const c_void {
        // SAFETY: the symbol's address alone is looked at.
        let symbol = unsafe { self.library.get::<*const c_void>(format!("{name}\0").as_bytes()) };
        symbol.map_or(ptr::null(), |s| *s)
    }

    /// The function at `at`, which must be an exported one named `prefix` and a variant.
    fn function(&self, at: usize, prefix: &str, variants: &[&str]) -> Result<*const c_void, LoadError> {
        let pointer = self.pointer(at);
        let is = |variant: &&str| {
            let exported = self.exported(&format!("{prefix}{variant}"));
            !exported.is_null() && ptr::eq(exported, pointer)
        };
        if variants.iter().any(is) {
            Ok(pointer)
        } else {
            Err(LoadError::Unusable("the manager has not the layout of version 1.3.0"))
        }
    }
}

/// An expanded AES-GCM key, wiped when dropped. One piece of memory, so that its place says where all of it is.
#[repr(C, align(64))]
pub struct GcmKey {
    data: KeyData,
    functions: &'static Gcm,
}

const _: () = assert!(size_of::<GcmKey>() == 1024);

impl GcmKey {
    pub fn new_128(functions: &'static Functions, key: &[u8; 16]) -> Box<Self> {
        Self::expand(&functions.gcm128, key.as_ptr())
    }

    pub fn new_256(functions: &'static Functions, key: &[u8; 32]) -> Box<Self> {
        Self::expand(&functions.gcm256, key.as_ptr())
    }

    /// `key` points to as many bytes as the functions are for.
    fn expand(functions: &'static Gcm, key: *const u8) -> Box<Self> {
        // Expanded where it stays: a move would leave a copy.
        let mut this = Box::new(Self { data: KeyData([0; KEY_DATA_LEN / 8]), functions });
        // SAFETY: the key has the length of these functions (the two callers), and the data, which the structure begins
        // with, their size and alignment.
        unsafe { (functions.pre)(key, &raw mut this.data) };
        this
    }

    /// Encrypts `text` and computes its tag.
    pub fn seal(
        &self,
        context: &mut GcmContext,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        self.crypt(self.functions.encrypt, context, iv, aad, text, tag);
    }

    /// Decrypts `text` and computes the tag that it should have.
    pub fn open(
        &self,
        context: &mut GcmContext,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        self.crypt(self.functions.decrypt, context, iv, aad, text, tag);
    }

    fn crypt(
        &self,
        function: GcmCrypt,
        context: &mut GcmContext,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        let at = text.as_mut_ptr();
        // SAFETY: all pointers are to live memory of the lengths given; the text is changed in place, which the library
        // allows; key and context have the size and alignment of this version's structures.
        unsafe {
            function(
                &raw const self.data,
                context,
                at,
                at,
                text.len() as u64,
                iv.as_ptr(),
                aad.as_ptr(),
                aad.len() as u64,
                tag.as_mut_ptr(),
                16,
            );
        }
    }

    /// Brings into the cache what a text of so many bytes needs of the key.
    pub fn prefetch(&self, text_len: usize) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let start = (&raw const *self).cast::<i8>();
        let ask = |from: usize, to: usize| {
            for at in (from..to).step_by(LINE) {
                // SAFETY: a hint about memory that is ours.
                unsafe { _mm_prefetch(start.add(at), _MM_HINT_T0) };
            }
        };
        if self.functions.is_wide {
            // A power for each block of the text, and for those of the additional data, the lengths and the trailer.
            let powers = (text_len / 16 + 4).min(HASH_KEYS);
            let lowest = (KEY_DATA_LEN - 16 * powers) / LINE * LINE;
            ask(0, 16 * ROUND_KEYS);
            ask(lowest.max((16 * ROUND_KEYS).next_multiple_of(LINE)), size_of::<Self>());
        } else {
            ask(0, 512);
        }
    }
}

/// A ChaCha20-Poly1305 key, wiped when dropped.
pub struct ChachaKey {
    functions: Chacha,
    key: Box<[u8; 32]>,
}

impl ChachaKey {
    pub fn new(functions: &Functions, key: &[u8; 32]) -> Self {
        let mut own = Box::new([0; 32]);
        own.copy_from_slice(key);
        Self { functions: functions.chacha, key: own }
    }

    /// Encrypts `text` and computes its tag.
    pub fn seal(
        &self,
        context: &mut ChachaContext,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        self.crypt(self.functions.encrypt, context, iv, aad, text, tag);
    }

    /// Decrypts `text` and computes the tag that it should have.
    pub fn open(
        &self,
        context: &mut ChachaContext,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        self.crypt(self.functions.decrypt, context, iv, aad, text, tag);
    }

    fn crypt(
        &self,
        update: ChachaUpdate,
        context: &mut ChachaContext,
        iv: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        let (key, at) = (self.key.as_ptr(), text.as_mut_ptr());
        // SAFETY: all pointers are to live memory of the lengths given; the text is changed in place, which the library
        // allows; the context has the size and alignment of this version's structure.
        unsafe {
            (self.functions.init)(key, context, iv.as_ptr(), aad.as_ptr(), aad.len() as u64);
            update(key, context, at, at, text.len() as u64);
            (self.functions.finalize)(context, tag.as_mut_ptr(), 16);
        }
    }
}

impl Drop for ChachaKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}
