"""What a method may read, as its role allows: the model with its failures, and the rows that it learns and watches."""
