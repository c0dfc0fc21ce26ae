//! Files whose bytes are not what was written: refused by name, or read to the byte; never a panic that gets out.

use super::*;

/// Some pages of records, synced and closed.
fn filled() -> Vec<u8> {
    let disk = Disk::new();
    let mut storage = open(&disk).unwrap();
    for number in 0..400_u32 {
        let mut batch = Batch::new();
        batch.put(Space::ALL[number as usize % 4], &number.to_be_bytes(), &[number as u8; 100]);
        storage.write(&batch).unwrap();
        if number % 100 == 99 {
            storage.sync().unwrap();
        }
    }
    drop(storage);
    disk.bytes()
}

/// Whether it was refused as damaged. What is opened is what was written.
fn is_noticed(image: Vec<u8>, expected: &[Found]) -> bool {
    match open(&Disk::of(image)) {
        Ok(storage) => {
            assert_eq!(all(&storage).unwrap(), expected, "damage is never another content");
            false
        }
        Err(Refused::Damaged(_) | Refused::Format(_)) => true,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn flipped_bits_torn_pages_and_lost_ends_are_damage_or_do_no_harm() {
    let image = filled();
    let expected = all(&open(&Disk::of(image.clone())).unwrap()).unwrap();
    assert_eq!(expected.len(), 400);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut noticed = [0; 3];
    for _ in 0..300 {
        let at = rng.random_range(0..image.len());
        let mut flipped = image.clone();
        flipped[at] ^= 1 << rng.random_range(0..8);
        noticed[0] += u32::from(is_noticed(flipped, &expected));
        let mut zeroed = image.clone();
        let page = at / 4096 * 4096;
        zeroed[page..(page + 4096).min(image.len())].fill(0);
        noticed[1] += u32::from(is_noticed(zeroed, &expected));
    }
    for _ in 0..50 {
        let cut = image[..rng.random_range(1..image.len())].to_vec();
        noticed[2] += u32::from(is_noticed(cut, &expected));
    }
    // Most of a file this small holds nothing; its end does hold something.
    assert!(noticed[0] >= 10 && noticed[1] >= 10 && noticed[2] >= 40, "{noticed:?}");
}

/// While it is open nobody verifies pages that are read, so redb may say anything, and a record's own checksum is what
/// is left. But nothing gets out as a panic.
#[test]
fn rot_under_an_open_file_is_an_error_or_shows_bytes() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(8);
    let image = filled();
    let mut errors = 0;
    for _ in 0..60 {
        let disk = Disk::of(image.clone());
        // Without a cache every page is read from the disk.
        let storage = RedbStorage::open(disk.clone(), Arc::new(Room::none()), 0, false, None).unwrap();
        disk.garble(&mut rng);
        let mut storage = storage;
        for number in 0..400_u32 {
            errors += u32::from(storage.get(Space::ALL[number as usize % 4], &number.to_be_bytes()).is_err());
        }
        errors += u32::from(all(&storage).is_err());
        let mut batch = Batch::new();
        (0..40).for_each(|number: u32| batch.put(Space::Objects, &number.to_be_bytes(), b"new"));
        storage.write(&batch).unwrap();
        errors += u32::from(storage.sync().is_err());
        drop(storage);
    }
    assert!(errors > 0, "some of that is noticed");
}
