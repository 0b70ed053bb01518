//! Trains dictionaries.

/// Why there is no dictionary.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrainError {
    /// Too few messages, or too much alike.
    #[error("the messages are too few, or too short, for a dictionary of {0} bytes: {1}")]
    Samples(usize, &'static str),
    /// The id isn't one that a user may choose.
    #[error("{0} is no id of a dictionary: choose from 32768 to 2147483647")]
    Id(u32),
}

/// Trains a dictionary of at most so many bytes from samples: whole messages. The same samples and
/// size yield the same dictionary.
///
/// # Errors
/// When they don't.
pub fn train(samples: &[Vec<u8>], size: usize, id: u32) -> Result<Vec<u8>, TrainError> {
    // RFC 8878 §5: the others are for a registry.
    if !(32_768..1 << 31).contains(&id) {
        return Err(TrainError::Id(id));
    }
    let sizes: Vec<usize> = samples.iter().map(Vec::len).collect();
    let all = samples.concat();
    let mut dictionary = vec![0; size];
    let len = zstd_safe::train_from_buffer(&mut dictionary[..], &all, &sizes)
        .map_err(|code| TrainError::Samples(size, zstd_safe::get_error_name(code)))?;
    dictionary.truncate(len);
    // zstd makes the id of a digest. It is a name and nothing else (RFC 8878 §5).
    if let Some(place) = dictionary.get_mut(4..8) {
        place.copy_from_slice(&id.to_le_bytes());
    }
    Ok(dictionary)
}
