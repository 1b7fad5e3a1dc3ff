//! Inputs to begin with: what a whole repository, archive, WAL and configuration look like.

use mantis_repo::fuzzing;
use mantis_stream::{CodecRegistry, Compression, encode_frame};

use crate::archive::whole;
use crate::template::{RUNTIME, TEMPLATE, open_template, pages};

/// Kinds of objects by the folder they are in, as the targets number them.
const FOLDERS: [(&str, u8); 6] =
    [("mantis.repo", 0), ("man/", 2), ("out/", 3), ("lay/", 4), ("forget/", 6), ("seg/", 7)];

/// Targets, names and inputs.
///
/// # Panics
/// Where the template cannot be made.
#[must_use]
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let repo = RUNTIME.block_on(open_template()).unwrap();
    for (n, (key, bytes)) in TEMPLATE.objects.iter().enumerate() {
        let Some((_, kind)) = FOLDERS.iter().find(|(folder, _)| key.as_str().starts_with(folder))
        else {
            continue;
        };
        seeds.push(("object", format!("{n:02}"), [&[*kind], &bytes[..]].concat()));
        if let Some(chunk) = fuzzing::unseal(&repo, key, bytes) {
            seeds.push(("chunk", format!("{n:02}"), [&[*kind], &chunk[..]].concat()));
        }
        if let Some(index) = fuzzing::index_of(&repo, key, bytes) {
            seeds.push(("index", format!("{n:02}"), index.to_vec()));
        }
    }
    let codecs = CodecRegistry::builtin();
    let chunk = bytes::Bytes::from(pages(1, 2));
    for (name, codec) in [
        ("none", Compression::None),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd(1)),
        ("gzip", Compression::Gzip(6)),
    ] {
        let frame = encode_frame(codecs, &chunk, codec, b"place", true, None).unwrap();
        // The codec stands behind the two lengths.
        let id = frame.to_bytes()[8];
        seeds.push(("frame", name.to_owned(), frame.to_bytes()));
        if let Some(codec) = codecs.get(id).filter(|_| id > 0) {
            let payload = codec.compress(&chunk, 1).unwrap();
            let len = chunk.len() as u32;
            let head = [&[id][..], &len.to_le_bytes()[..3]].concat();
            seeds.push(("frame", format!("codec-{name}"), [head, payload].concat()));
        }
    }
    let mut whole_archive = whole();
    whole_archive.insert(0, 0);
    seeds.push(("archive", "whole".into(), whole_archive));
    seeds
}
