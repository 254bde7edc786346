//! Upload sessions as they are stored: sealed with the credentials that opened them.
//!
//! The address of a session alone authorises writing the file, for a week, so reading the table
//! must not be enough to have it. The key is derived from the connection's credentials, which are
//! in Secrets Manager alone. Once they are rotated, a session cannot be opened any more, and the
//! upload begins again.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::FileId;

use crate::{DriveClient, DriveError, Kind, Secret, UploadSession};

/// The beginning of a sealed address. An address of Drive never begins like this.
const SEALED: &str = "sealed:1:";
const PURPOSE: &[u8] = b"drivesync upload session";
const METHOD: &str = "uploads.seal";

/// The keys of one connection's credentials.
struct Seal {
    encryption: LessSafeKey,
    nonces: hmac::Key,
}

impl Seal {
    fn of(credentials: &Secret) -> Option<Self> {
        let derived = Salt::new(HKDF_SHA256, PURPOSE).extract(credentials.expose().as_bytes());
        let encryption = derived.expand(&[b"encryption"], &AES_256_GCM).ok()?;
        let nonces = derived.expand(&[b"nonces"], hmac::HMAC_SHA256).ok()?;
        Some(Self {
            encryption: LessSafeKey::new(UnboundKey::from(encryption)),
            nonces: hmac::Key::from(nonces),
        })
    }

    /// Seals an address for a file. The nonce is derived from both, so that no two addresses have
    /// the same one, and the same input has the same result.
    fn seal(&self, file: &FileId, address: &str) -> Option<String> {
        let mut input = hmac::Context::with_key(&self.nonces);
        for part in [file.as_str(), "\n", address] {
            input.update(part.as_bytes());
        }
        let tag = input.sign();
        let nonce: [u8; NONCE_LEN] = tag.as_ref().get(..NONCE_LEN)?.try_into().ok()?;
        let mut text = address.as_bytes().to_vec();
        let (aad, key) = (Aad::from(file.as_str()), &self.encryption);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .ok()?;
        let sealed = [nonce.as_slice(), &text].concat();
        Some(format!("{SEALED}{}", BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what [`Seal::seal`] returned for the same file.
    fn open(&self, file: &FileId, sealed: &str) -> Option<String> {
        let text = sealed.strip_prefix(SEALED)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let opened = self
            .encryption
            .open_in_place(nonce, Aad::from(file.as_str()), &mut text);
        String::from_utf8(opened.ok()?.to_vec()).ok()
    }
}

impl DriveClient {
    /// Returns an upload session in the form in which it is stored. Only a client with the same
    /// credentials can open it, by [`DriveClient::open_session`].
    ///
    /// # Errors
    /// [`DriveError`] if the credentials cannot be read.
    pub async fn seal_session(&self, session: &UploadSession) -> Result<String, DriveError> {
        let sealed = self.seal().await?;
        let sealed = sealed.and_then(|seal| seal.seal(session.file(), session.expose_address()));
        sealed.ok_or_else(|| DriveError::new(METHOD, Kind::NotSent))
    }

    /// Returns a stored session of a file. One that was sealed with other credentials is
    /// [`crate::UploadProgress::SessionGone`] when it is used. An earlier version stored the plain
    /// address.
    ///
    /// # Errors
    /// [`DriveError`] if the credentials cannot be read.
    pub async fn open_session(
        &self,
        file: FileId,
        stored: &str,
    ) -> Result<UploadSession, DriveError> {
        let opened = match stored.starts_with(SEALED) {
            true => self.seal().await?.and_then(|seal| seal.open(&file, stored)),
            false => None,
        };
        // What cannot be opened is no address of Drive.
        let address = opened.unwrap_or_else(|| stored.to_owned());
        Ok(UploadSession::new(file, address))
    }

    async fn seal(&self) -> Result<Option<Seal>, DriveError> {
        let material = self.tokens.key_material().await?;
        Ok(material.as_ref().and_then(Seal::of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "https://www.googleapis.com/upload/drive/v2/files/f?upload_id=s3cret";

    fn seal(credentials: &str) -> Seal {
        Seal::of(&Secret::new(credentials.to_owned())).unwrap()
    }

    fn file(id: &str) -> FileId {
        FileId::parse(id).unwrap()
    }

    #[test]
    fn an_address_is_opened_with_the_same_credentials_for_the_same_file() {
        let sealed = seal("one").seal(&file("f"), ADDRESS).unwrap();
        assert_eq!(seal("one").open(&file("f"), &sealed).unwrap(), ADDRESS);
        assert_eq!(seal("two").open(&file("f"), &sealed), None);
        assert_eq!(seal("one").open(&file("g"), &sealed), None);
    }

    #[test]
    fn a_sealed_address_shows_nothing_and_is_as_it_was_written() {
        let one = seal("one");
        let sealed = one.seal(&file("f"), ADDRESS).unwrap();
        assert!(!sealed.contains("upload") && !sealed.contains("s3cret"));
        assert_eq!(one.seal(&file("f"), ADDRESS).unwrap(), sealed);
        let next = one.seal(&file("f"), &format!("{ADDRESS}2")).unwrap();
        assert_ne!(next[..SEALED.len() + 16], sealed[..SEALED.len() + 16]);
        for at in SEALED.len()..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            if changed != sealed {
                assert_eq!(one.open(&file("f"), &changed), None, "{at}");
            }
        }
        for text in [
            "",
            ADDRESS,
            SEALED,
            "sealed:1:AAAA",
            "sealed:2:AAAA",
            "sealed:1:\u{e9}",
        ] {
            assert_eq!(one.open(&file("f"), text), None, "{text}");
        }
    }
}
