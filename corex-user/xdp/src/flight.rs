//! The frames of one queue that the kernel has to send, and what each of them is to their sender.

use super::umem::Frame;

/// A frame on its way out, as [`transmit`](super::QueueSocket::transmit) names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    chunk: u32,
}

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Home,
    Out,
    /// Out, with its sender's mark.
    Marked(u8),
}

/// Which chunks are out.
#[derive(Debug)]
pub struct Flight {
    states: Box<[State]>,
    out: u32,
}

impl Flight {
    /// Of a packet memory with so many chunks; none is out.
    pub fn new(chunks: u32) -> Self {
        Self {
            states: (0..chunks).map(|_| State::Home).collect(),
            out: 0,
        }
    }

    /// A frame goes out.
    #[inline]
    pub fn depart(&mut self, frame: &Frame) -> Departed {
        let chunk = frame.chunk();
        if let Some(state) = self.states.get_mut(chunk as usize) {
            *state = State::Out;
            self.out += 1;
        }
        Departed { chunk }
    }

    /// A frame that couldn't go, or came back.
    pub fn arrive(&mut self, frame: &Frame) {
        if let Some(state) = self.states.get_mut(frame.chunk() as usize)
            && *state != State::Home
        {
            *state = State::Home;
            self.out -= 1;
        }
    }

    /// The numbers of the chunks that are out.
    pub fn chunks(&self) -> Vec<u32> {
        let states = (0..).zip(&self.states);
        states
            .filter(|(_, state)| **state != State::Home)
            .map(|(chunk, _)| chunk)
            .collect()
    }

    /// Goes on where another process has sent these chunks out; what they were to it, it knows.
    pub fn restore(&mut self, out: &[u32]) {
        self.states.fill(State::Home);
        self.out = 0;
        for chunk in out {
            if let Some(state) = self.states.get_mut(*chunk as usize)
                && *state == State::Home
            {
                *state = State::Out;
                self.out += 1;
            }
        }
    }

    /// How many are out.
    pub fn count(&self) -> u32 {
        self.out
    }

    /// Writes `mark` on a frame, if it is out still.
    #[inline]
    pub fn mark(&mut self, departed: Departed, mark: u8) {
        if let Some(state) = self.states.get_mut(departed.chunk as usize)
            && *state != State::Home
        {
            *state = State::Marked(mark);
        }
    }

    /// Takes the mark off one frame. `None`: it has none.
    pub fn take_mark(&mut self, frame: &Frame) -> Option<u8> {
        let state = self.states.get_mut(frame.chunk() as usize)?;
        Self::take(state)
    }

    /// Takes the marks off all frames that are out.
    pub fn take_marks(&mut self) -> impl Iterator<Item = u8> + '_ {
        self.states.iter_mut().filter_map(Self::take)
    }

    fn take(state: &mut State) -> Option<u8> {
        let State::Marked(mark) = *state else {
            return None;
        };
        *state = State::Out;
        Some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Umem;

    #[test]
    fn marks_are_those_of_frames_that_are_out_and_each_is_taken_once() {
        let (_umem, mut pool) = Umem::new(4, 2048).unwrap();
        let frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
        let mut flight = Flight::new(4);
        let departed: Vec<Departed> = frames[..3].iter().map(|f| flight.depart(f)).collect();
        assert_eq!(flight.count(), 3);
        for (mark, departed) in departed.iter().take(2).enumerate() {
            flight.mark(*departed, mark as u8 + 7);
        }
        flight.arrive(&frames[0]);
        flight.arrive(&frames[3]);
        assert_eq!(flight.count(), 2);
        flight.mark(departed[0], 9);
        assert_eq!(flight.take_marks().collect::<Vec<_>>(), [8]);
        assert_eq!(flight.take_marks().count(), 0);
        assert_eq!(flight.count(), 2, "they are out still");
        let mut successor = Flight::new(4);
        successor.restore(&flight.chunks());
        assert_eq!(successor.chunks(), flight.chunks());
        successor.arrive(&frames[1]);
        assert_eq!(successor.count(), 1);
        successor.restore(&[3, 3, 9]);
        assert_eq!((successor.count(), successor.chunks()), (1, vec![3]));
    }
}
