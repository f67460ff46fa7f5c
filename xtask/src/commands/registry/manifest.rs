//! The image under a name: what is there itself or, in an index of several, the one for a platform.

use anyhow::{Context, Result, ensure};

use super::{Question, Registry};
use crate::tools::curl::Method;
use crate::tools::registry::index::{self, Entry};
use crate::tools::registry::{self as protocol, Descriptor, Document, MANIFESTS, Manifest};

impl Registry<'_> {
    /// Whether anything lies under a tag.
    pub(crate) fn has_manifest(&self, image: &str, tag: &str) -> Result<bool> {
        protocol::check_reference(tag)?;
        let name = format!("{}:{tag}", self.name(image));
        Ok(self.document(image, tag, &name, None)?.is_some())
    }

    /// The image under a tag or a digest; `None` where the registry has nothing.
    ///
    /// If an index is there, such as one that BuildKit pushed with attestations, it is the image in
    /// it for `platform` (`linux/amd64`, `linux/arm/v7`), with its own digest. An image that is
    /// there without an index is returned whatever it is for.
    ///
    /// # Errors
    ///
    /// The index has no image for that platform, or what it names is not there or does not fit.
    pub(crate) fn manifest(
        &self,
        image: &str,
        reference: &str,
        platform: &str,
    ) -> Result<Option<Manifest>> {
        protocol::check_reference(reference)?;
        let wanted = protocol::is_digest(reference).then_some(reference);
        let name = format!("{}{}{reference}", self.name(image), wanted.map_or(':', |_| '@'));
        let entries = match self.document(image, reference, &name, wanted)? {
            None => return Ok(None),
            Some(Document::Image(manifest)) => return Ok(Some(manifest)),
            Some(Document::Index(index)) => index.entries,
        };
        let mut others = Vec::new();
        let found = self.in_index(image, &entries, platform, 1, &mut others);
        let found = found.with_context(|| format!("can't use {name}"))?;
        ensure!(
            found.is_some(),
            "can't use {name}: it is an index with {}, and {platform} is wanted; publish an image \
             for {platform}, or change [images] platform in environment.toml",
            match others.is_empty() {
                true => "no image in it".to_owned(),
                false => format!("images for {}", others.join(", ")),
            }
        );
        Ok(found)
    }

    /// The image for a platform; `others` gets what different ones are for. `depth` is how many
    /// indexes led here: two are enough for the index of each build in an index of all.
    fn in_index(
        &self,
        image: &str,
        entries: &[Entry],
        platform: &str,
        depth: u8,
        others: &mut Vec<String>,
    ) -> Result<Option<Manifest>> {
        others.extend(index::platforms(entries));
        for entry in index::choose(entries, platform)? {
            ensure!(
                depth < 2 || !entry.is_index(),
                "it is an index in an index in an index; publish the image without them"
            );
            let found = match self.named(image, entry)? {
                Document::Image(manifest) => Some(manifest),
                Document::Index(index) => {
                    self.in_index(image, &index.entries, platform, depth + 1, others)?
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What an index names, if it is as the index says.
    fn named(&self, image: &str, entry: &Entry) -> Result<Document> {
        let Descriptor { digest, size, media_type } = &entry.descriptor;
        let name = format!("{}@{digest}", self.name(image));
        let document = self.document(image, digest, &name, Some(digest))?.with_context(|| {
            format!("the registry lacks {name}, which its index names; push it again")
        })?;
        let (found_size, found_type) = match &document {
            Document::Image(manifest) => (manifest.bytes.len() as u64, &manifest.media_type),
            Document::Index(index) => (index.size, &index.media_type),
        };
        ensure!(
            found_size == *size && found_type == media_type,
            "its index names {digest} as {media_type} of {size} bytes, and it is {found_type} \
             of {found_size} bytes; push it again"
        );
        Ok(document)
    }

    /// What is under a tag or a digest, whose bytes have the digest `wanted`.
    fn document(
        &self,
        image: &str,
        reference: &str,
        name: &str,
        wanted: Option<&str>,
    ) -> Result<Option<Document>> {
        let question = self.question(Method::Get, image, &format!("manifests/{reference}"))?;
        let question = Question { accept: &MANIFESTS, ..question };
        let Some(answer) = self.whole(&question, name, wanted)? else { return Ok(None) };
        let kind = answer.head.get("content-type").map(str::to_owned);
        let document = protocol::parse_manifest(kind.as_deref(), answer.bytes()?);
        document.with_context(|| format!("can't use {name}")).map(Some)
    }
}
